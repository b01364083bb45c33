"""A person stops a run: the summary so far, the exit status of shells, nobody left behind."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from waiting import WAITING, let_it_go_on, wait_until_it_waits

if TYPE_CHECKING:
    from tests.conftest import Workbench

STUCK = """
class Stuck(NetworkFunction):
    @on("packet")
    def see(self, event):
        open("going", "a").write(".")
        time.sleep(1000)
"""

SLOW = """
class Slow(NetworkFunction):
    @on("packet")
    def see(self, event):
        open("going", "a").write(".")
        if not os.path.exists("go"):
            time.sleep(0.05)
"""


def begun(workbench: "Workbench", code: str) -> subprocess.Popen[str]:
    process = workbench.start("run", workbench.chain(workbench.nf("going", code)))
    wait_until_it_waits(workbench)
    return process


def let_go_on(workbench: "Workbench", process: subprocess.Popen[str]) -> None:
    """Lets an NF that waits read what is left, as soon as the run stops."""
    assert process.stderr
    assert "stops: reading what is left" in process.stderr.readline()
    let_it_go_on(workbench)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_in_order(
    workbench: "Workbench", number: signal.Signals, status: int
) -> None:
    process = begun(workbench, WAITING)
    process.send_signal(number)
    let_go_on(workbench, process)
    result = workbench.end(process)
    assert result.returncode == status
    assert "chain.yaml: interrupted" in result.stdout
    assert workbench.summary()["nfs"][0]["outcome"] == "finished"
    assert workbench.processes() == {}


def test_how_much_is_left_is_said_of_a_slow_nf(workbench: "Workbench", demo: Path) -> None:
    chain = workbench.chain(workbench.nf("going", SLOW), capture=demo)
    process = workbench.start("run", chain)
    wait_until_it_waits(workbench)
    process.send_signal(signal.SIGTERM)
    assert process.stderr
    assert "stops: reading what is left" in process.stderr.readline()
    said = process.stderr.readline()
    let_it_go_on(workbench)
    assert re.search(r"going has handled \d+ events; up to [\d,]+ are left", said), said
    assert workbench.end(process).returncode == 143


def test_a_run_whose_terminal_is_closed_ends_in_order(workbench: "Workbench") -> None:
    chain = workbench.chain(workbench.nf("going", WAITING))
    process, terminal = workbench.start_in_terminal("run", chain)
    wait_until_it_waits(workbench)
    os.close(terminal)
    let_go_on(workbench, process)
    assert workbench.end(process).returncode == 129
    assert workbench.summary()["nfs"][0]["outcome"] == "finished"
    assert workbench.processes() == {}


def test_a_run_under_nohup_goes_on_without_its_terminal_to_its_last_instruction(
    workbench: "Workbench",
) -> None:
    chain = workbench.chain(workbench.nf("going", WAITING))
    process, terminal = workbench.start_in_terminal("run", chain, prefix=["nohup"])
    wait_until_it_waits(workbench)
    os.close(terminal)
    let_it_go_on(workbench)
    while process.poll() is None:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.001)
    assert workbench.end(process).returncode == 0


def test_ctrl_c_on_the_whole_process_group_is_the_controllers_to_handle(
    workbench: "Workbench",
) -> None:
    process = begun(workbench, WAITING)
    for child in workbench.processes():
        os.kill(child, signal.SIGINT)
    let_go_on(workbench, process)
    assert workbench.end(process).returncode == 130
    assert workbench.summary()["nfs"][0]["outcome"] == "finished"


def test_a_second_signal_ends_at_once(workbench: "Workbench") -> None:
    process = begun(workbench, STUCK)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    result = workbench.end(process)
    assert time.monotonic() - began < 5
    assert result.returncode == 130
    assert "SIGKILL" not in result.stderr  # it was wanted
    assert workbench.processes() == {}


def test_an_nf_that_does_not_move_is_named_and_killed(workbench: "Workbench") -> None:
    process = begun(workbench, STUCK)
    process.send_signal(signal.SIGINT)
    result = workbench.end(process)
    assert result.returncode == 130
    assert "going did not move for 10 s and was killed" in result.stderr
    assert workbench.processes() == {}


def test_a_signal_before_the_first_packet_leaves_nothing(workbench: "Workbench") -> None:
    slow_start = "class Late(NetworkFunction):\n    def start(self):\n"
    slow_start += "        open('going', 'w').write('.'); time.sleep(60)\n"
    slow_start += "    @on('packet')\n    def see(self, event): pass\n"
    process = begun(workbench, slow_start)
    process.send_signal(signal.SIGINT)
    result = workbench.end(process)
    assert result.returncode == 130
    assert "interrupted before the first packet" in result.stderr
    assert not (workbench.folder / "microbox-logs").exists()
    assert workbench.processes() == {}


def test_microbox_stop_ends_a_run_in_order(workbench: "Workbench") -> None:
    process = begun(workbench, WAITING)
    shown = workbench.run("ps")
    assert "chain." in shown.stdout
    assert "going" in shown.stdout
    stopped = workbench.run("stop", "chain")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    let_go_on(workbench, process)
    assert workbench.end(process).returncode == 143
    assert workbench.summary()["ended"] == "interrupted"
    assert workbench.run("stop").returncode == 2
