"""Each exit status that is documented comes from a command."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Workbench

GUIDE = Path(__file__).parents[2] / "docs" / "guide"

DYING = """
class Dying(NetworkFunction):
    @on("packet")
    def see(self, event):
        os._exit(7)
"""

LATE = """
class Late(NetworkFunction):
    def start(self):
        open("going", "w").write(".")
        time.sleep(60)
    @on("packet")
    def see(self, event): pass
"""


def documented(page: str, column: int) -> set[int]:
    """Numbers in a column of the page's table of exit statuses."""
    text = (GUIDE / page).read_text()
    table = re.search(r"^\|[^\n]*exit status[^\n]*\n((?:\|[^\n]*\n)+)", text, re.M)
    assert table
    cells = [row.strip("|").split("|")[column] for row in table[1].splitlines()[1:]]
    return {int(number) for cell in cells for number in re.findall(r"\d+", cell)}


def done(workbench: Workbench) -> int:
    return workbench.run("nfs").returncode


def failed(workbench: Workbench) -> int:
    return workbench.run("run", workbench.chain(workbench.nf("dying", DYING))).returncode


def wrong(workbench: Workbench) -> int:
    return workbench.run("run", "no_chain.yaml").returncode


def signalled(number: signal.Signals) -> Callable[[Workbench], int]:
    def run(workbench: Workbench) -> int:
        process = workbench.start("run", workbench.chain(workbench.nf("late", LATE)))
        workbench.wait_for(workbench.folder / "going")
        process.send_signal(number)
        return workbench.end(process).returncode

    return run


def without_terminal(workbench: Workbench) -> int:
    chain = workbench.chain(workbench.nf("late", LATE))
    process, terminal = workbench.start_in_terminal("run", chain)
    workbench.wait_for(workbench.folder / "going")
    os.close(terminal)
    return workbench.end(process).returncode


COMMANDS: dict[int, Callable[[Workbench], int]] = {
    0: done,
    1: failed,
    2: wrong,
    129: without_terminal,
    130: signalled(signal.SIGINT),
    143: signalled(signal.SIGTERM),
}


@pytest.mark.parametrize("status", COMMANDS)
def test_a_command_ends_with(status: int, workbench: Workbench) -> None:
    assert COMMANDS[status](workbench) == status


def test_no_other_status_is_documented() -> None:
    assert documented("cli.md", 0) == set(COMMANDS)
    assert documented("runs.md", 2) == set(COMMANDS)
