"""Logs are rotated while a run writes them, by the file that is shipped for logrotate."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Workbench

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "packaging" / "logrotate" / "microbox"
LOGROTATE = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")

RECORDING = """
class Recording(NetworkFunction):
    seen = 0
    @on("packet")
    def see(self, event):
        self.seen += 1
        if self.seen in (500, 5_000):
            open(f"at-{self.seen}", "w").write(".")
            while not os.path.exists(f"go-{self.seen}"):
                time.sleep(0.01)
            time.sleep(0.2)  # of the file that was made it is told a moment later
        self.record(event, number=self.seen, padding=1_000 * ".")
        if self.seen % 400 == 0:
            self.alert(event, f"number {self.seen}", signature="one_of_400")
"""

# Before each, more was recorded than is buffered (256 KiB); behind each are more packets than a
# batch has (4,096), since between two batches an NF hears of its new log.
GATES = (500, 5_000)
LOGS = ("recording", "chatty", "alert_log")


@pytest.fixture
def chain(workbench: Workbench, demo: Path) -> Path:
    shutil.copy(ROOT / "tests" / "nf" / "c" / "chatty.c", workbench.folder)
    recording = workbench.nf("recording", RECORDING)
    in_c = {"nf": "./chatty.c", "most": 3, "after": ["recording"]}
    return workbench.chain(recording, in_c, "alert_log", capture=demo)


def undisturbed(workbench: Workbench, chain: Path) -> Path:
    for gate in GATES:
        (workbench.folder / f"go-{gate}").touch()
    assert workbench.run("run", chain, "-w", "undisturbed").returncode == 0
    for gate in GATES:
        (workbench.folder / f"go-{gate}").unlink()
        (workbench.folder / f"at-{gate}").unlink()
    return workbench.folder / "undisturbed"


def rotate(workbench: Workbench, logs: Path, run: int) -> None:
    """As logrotate's timer does, with the shipped file. There is no systemd here to be asked."""
    text = SHIPPED.read_text()
    for written, here in (
        ("/var/log/microbox/*/*/*.jsonl", f"{logs}/*.jsonl"),
        ("/var/log/microbox/*/*/*.part", f"{logs}/*.part"),
        ("systemctl reload 'microbox@*.service'", f"kill -HUP {run}"),
    ):
        assert written in text
        text = text.replace(written, here)
    config = workbench.folder / "logrotate.conf"
    config.write_text(text)
    config.chmod(0o644)
    state = workbench.folder / "state"
    subprocess.run([str(LOGROTATE), "--force", "--state", state, config], check=True, timeout=30)


def files_of(log: Path) -> list[bytes]:
    """What is in a log's files, in the order in which they were written."""
    files = []
    if (packed := Path(f"{log}.2.gz")).exists():
        files.append(gzip.decompress(packed.read_bytes()))
    if (rotated := Path(f"{log}.1")).exists():
        files.append(rotated.read_bytes())
    return [*files, log.read_bytes()]


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")
def test_logs_that_are_rotated_twice_are_together_those_of_an_undisturbed_run(
    workbench: Workbench, chain: Path
) -> None:
    expected = undisturbed(workbench, chain)
    logs = workbench.folder / "rotated"
    process = workbench.start("run", chain, "-w", "rotated")
    for gate in GATES:
        workbench.wait_for(workbench.folder / f"at-{gate}")
        rotate(workbench, logs, process.pid)
        workbench.until((logs / "recording.jsonl").exists)
        (workbench.folder / f"go-{gate}").touch()
    result = workbench.end(process)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("opened anew: ") == 2
    for name in LOGS:
        expected_log = (expected / f"{name}.jsonl").read_bytes()
        assert b"".join(files_of(logs / f"{name}.jsonl")) == expected_log, name
    assert [bool(file) for file in files_of(logs / "recording.jsonl")] == [True] * 3
    assert (logs / "summary.json").read_text() == (expected / "summary.json").read_text()


IN_PARTS = """
class InParts(NetworkFunction):
    seen = 0
    @on("packet")
    def see(self, event):
        self.seen += 1
        self.record(event, number=event.packet)
        if self.seen == 100:
            open(f"at-{os.getpid()}", "w").write(".")
            while not os.path.exists("go"):
                time.sleep(0.01)
            time.sleep(0.2)  # of the file that was made it is told a moment later
"""


@pytest.mark.parametrize("how", ["instances", "workers"])
def test_parts_that_are_rotated_are_together_the_log_of_an_undisturbed_run(
    workbench: Workbench, demo: Path, how: str
) -> None:
    entry = {
        "nf": workbench.nf("ids", IN_PARTS),
        **({"instances": 2} if how == "instances" else {}),
    }
    chain = workbench.chain(entry, capture=demo, **({"workers": 2} if how == "workers" else {}))
    (workbench.folder / "go").touch()
    assert workbench.run("run", chain, "-w", "undisturbed").returncode == 0
    for left in workbench.folder.glob("at-*"):
        left.unlink()
    (workbench.folder / "go").unlink()

    logs = workbench.folder / "rotated"
    process = workbench.start("run", chain, "-w", "rotated")
    workbench.until(lambda: len(list(workbench.folder.glob("at-*"))) == 2)
    for part in logs.glob("*.part"):
        part.rename(f"{part}.1")
    process.send_signal(signal.SIGHUP)
    workbench.until(lambda: len(list(logs.glob("*.part"))) == 2)
    (workbench.folder / "go").touch()
    result = workbench.end(process)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("opened anew: ids.") == 1
    moved = subprocess.run(
        "LC_ALL=C sort -m -s -k1,1 ids.*.part.1 | cut -c 66-",
        shell=True,
        cwd=logs,
        check=True,
        capture_output=True,
    ).stdout
    rest = (logs / "ids.jsonl").read_bytes()
    expected = (workbench.folder / "undisturbed" / "ids.jsonl").read_bytes()
    assert moved
    assert rest
    assert sorted((moved + rest).splitlines()) == sorted(expected.splitlines())
    assert not list(logs.glob("*.part"))
