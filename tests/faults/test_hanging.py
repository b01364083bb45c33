"""NFs that hang: at their import, in start(), at the end of the input. Each is named."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop

from microbox.chain.load import load_chain
from microbox.channel.messages import Problem
from microbox.runtime.accounts.report import RunReport
from microbox.runtime.controller import run_chain
from microbox.runtime.errors import RunError
from microbox.runtime.inputs.several_captures import open_input
from microbox.runtime.observer import Reading, Speaker
from microbox.runtime.running import Patience, RunOptions

if TYPE_CHECKING:
    from tests.conftest import Workbench

COUNT = """
class Count(NetworkFunction):
    seen = 0
    @on("packet")
    def see(self, event):
        self.seen += 1
    def finish(self):
        return {"seen": self.seen}
"""


class Notes:
    """An observer that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def reading(self, reading: Reading) -> None: ...

    def line(self, speaker: Speaker, stream: str, line: str) -> None:
        self.said.append(f"{speaker.name} {stream}: {line}")

    def problem(self, speaker: Speaker, problem: Problem) -> None:
        self.said.append(f"{speaker.name}: {problem.error}")

    def note(self, text: str, _speaker: Speaker | None = None, /) -> None:
        self.said.append(text)


def run(chain: Path, folder: Path, patience: Patience) -> tuple[RunReport, list[str]]:
    """Runs a chain in this process's loop, with the patience of a test."""
    loaded = load_chain(chain)
    notes = Notes()
    options = RunOptions(open_input(loaded.input), folder, patience=patience)

    async def bounded() -> RunReport:
        async with asyncio.timeout(60):
            return await run_chain(loaded, options, notes)

    return uvloop.run(bounded()), notes.said


@pytest.mark.parametrize(
    ("code", "doing"),
    [
        ("time.sleep(600)\n" + COUNT, "importing .*hanging.py"),
        (COUNT + "    def start(self):\n        time.sleep(600)\n", r"in its start\(\)"),
        (COUNT + "    def start(self):\n        while True: pass\n", r"in its start\(\)"),
    ],
)
def test_an_nf_that_hangs_at_its_start_is_named(
    workbench: "Workbench", code: str, doing: str
) -> None:
    chain = workbench.chain(workbench.nf("count", COUNT), workbench.nf("hanging", code))
    with pytest.raises(RunError, match=f"hanging hangs: no answer for 6 s while {doing}"):
        run(chain, workbench.folder, Patience(start=6.0))


HANGING_AT = {
    "a packet": '@on("packet")\n    def see(self, event):\n        time.sleep(600)',
    "the end": '@on("packet")\n    def see(self, event): pass\n'
    "    def finish(self):\n        time.sleep(600)",
}


@pytest.mark.parametrize("where", HANGING_AT)
def test_an_nf_that_hangs_when_the_input_is_over_is_named_and_killed(
    workbench: "Workbench", where: str
) -> None:
    hanging = workbench.nf("hanging", f"class Hanging(NetworkFunction):\n    {HANGING_AT[where]}\n")
    chain = workbench.chain(hanging, workbench.nf("count", COUNT))
    report, said = run(chain, workbench.folder, Patience(waiting_note=0.5, drain=3.0))
    assert "waits for hanging" in said
    assert [nf.outcome for nf in report.nfs] == ["did not move for 3 s and was killed", "finished"]
    assert report.nfs[1].summary == {"seen": 12}
    assert report.status == 1


def test_an_nf_that_is_slow_is_not_one_that_hangs(workbench: "Workbench", demo: Path) -> None:
    slow = """
class Slow(NetworkFunction):
    seen = 0
    @on("tcp.start")
    def see(self, event):
        self.seen += 1
        time.sleep(0.002)
    def finish(self):
        return {"seen": self.seen}
"""
    chain = workbench.chain(workbench.nf("slow", slow), capture=demo)
    report, _ = run(chain, workbench.folder, Patience(drain=1.0))
    assert report.status == 0
    assert report.nfs[0].summary == {"seen": report.events["flow.tcp.start"]}
    assert report.timing is not None
    assert report.timing.seconds > 2.0
