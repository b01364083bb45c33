"""`microbox top` on a chain that runs: in a pipe, for programs, and in a terminal."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal
from traffic import repeated

from tests.conftest import Workbench

EXCHANGES = 3000  # in five minutes, at ten a second; the run is stopped long before
MEMORY = 64 << 20

# Stands still with all that there is before it, from its first packet on; and has taken 32 MiB.
LAGS = """
class Lags(NetworkFunction):
    def start(self):
        self.taken = bytearray(32 << 20)
    @on("packet")
    def stand_still(self, event):
        while not os.path.exists("goes on"):
            time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Iterator[Workbench]:
    """A chain that runs: ten exchanges a second."""
    bench = Workbench(tmp_path_factory.mktemp("top"))
    capture = repeated(sample, bench.folder / "steady.pcap", times=EXCHANGES, apart=0.1)
    lags = {"nf": bench.nf("lags", LAGS), "memory": f"{MEMORY}B"}
    run = bench.start("run", bench.chain("flow_log", lags, capture=capture), "--pace", "1")
    bench.until(lambda: run.poll() is not None or "packets" in bench.run("ps").stdout)
    yield bench
    bench.clean_up()


def one_frame(bench: Workbench, *arguments: str) -> Any:
    shown = bench.run("top", "--once", "--json", *arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    return json.loads(shown.stdout)


def test_a_frame_says_what_comes_in_and_who_does_what(bench: Workbench) -> None:
    frame = one_frame(bench, "chain")
    assert frame["doing"] == "replay"
    assert frame["packets_per_second"] > 0
    (worker,) = frame["workers"]
    assert worker["packets"] == frame["packets"] > 0
    assert worker["events_per_second"] > 0
    nfs = {nf["name"]: nf for nf in frame["nfs"]}
    assert nfs.keys() == {"flow_log", "lags"}
    assert nfs["flow_log"]["events_per_second"] > 0
    assert nfs["flow_log"]["lag"] < nfs["lags"]["lag"]
    assert nfs["lags"]["events_per_second"] == 0
    assert [stage["nfs"] for stage in frame["stages"]] == [["flow_log", "lags"]]
    assert frame["stages"][0]["lag"] == nfs["lags"]["lag"]
    assert (nfs["lags"]["lost"], nfs["lags"]["restarts"]) == (0, 0)


def test_memory_is_shown_of_its_limit(bench: Workbench) -> None:
    nfs = {nf["name"]: nf for nf in one_frame(bench)["nfs"]}
    lags, free = nfs["lags"], nfs["flow_log"]
    assert lags["memory_limit"] == MEMORY
    assert 32 << 20 <= lags["memory_taken"] < MEMORY
    assert (free["memory_taken"], free["memory_limit"]) == (None, None)
    assert free["memory"] > 0


def test_memory_of_the_chain_is_shown_of_what_its_limits_come_to(bench: Workbench) -> None:
    memory = one_frame(bench)["memory"]
    assert 0 < memory["used"] == sum(part["used"] for part in memory["parts"])
    assert memory["limit"] == sum(part["limit"] for part in memory["parts"])
    flows = next(part for part in memory["parts"] if part["part"] == "flows")
    assert 0 < flows["used"] < flows["limit"]
    shown = bench.run("top", "--once").stdout
    assert re.search(r"^memory [\d.]+ [KM]iB of [\d.]+ MiB$", shown, re.MULTILINE)


def test_what_was_received_adds_up_in_each_frame(bench: Workbench) -> None:
    top = bench.start("top", "--json", "--interval", "0.1")
    assert top.stdout is not None
    frames = [json.loads(top.stdout.readline()) for _ in range(5)]
    top.send_signal(signal.SIGINT)
    assert bench.end(top).returncode == 0
    packets = [frame["packets"] for frame in frames]
    assert packets == sorted(packets)
    for frame in frames:
        (received,) = frame["balances"]
        parts = [part["count"] for part in received["parts"]]
        assert received["total"]["count"] == sum(parts) > 0


def test_in_a_pipe_there_are_plain_lines_and_a_frame_an_interval(bench: Workbench) -> None:
    top = bench.start("top", "--interval", "0.1")
    assert top.stdout is not None
    lines: list[str] = []
    while sum(line.startswith("chain.") for line in lines) < 3:
        lines.append(top.stdout.readline())
    top.send_signal(signal.SIGINT)
    assert bench.end(top).returncode == 0
    assert "\x1b" not in "".join(lines)
    assert any(line.startswith("received: ") and "0 dropped at a cap" in line for line in lines)
    assert any(line.split()[:1] == ["lags"] and "of 64.0 MiB" in line for line in lines)


def test_in_a_terminal_it_goes_on_until_q(bench: Workbench) -> None:
    terminal = Terminal(bench, "top", "--interval", "0.2", term="xterm")
    try:
        terminal.wait_for("\x1b[?1049h")  # the whole screen
        for _ in range(2):
            terminal.wait_for("packets/s")
            terminal.wait_for("lags")
        terminal.type("q")
        terminal.wait_for("\x1b[?1049l")
        assert terminal.process.wait(10) == 0
    finally:
        terminal.close()


def test_there_has_to_be_a_run(workbench: Workbench) -> None:
    shown = workbench.run("top")
    assert shown.returncode == 2
    assert "nothing of this user runs" in shown.stderr


def test_it_ends_with_its_run(bench: Workbench) -> None:
    """The last of these tests: the run is over."""
    run, *_ = bench.started
    top = bench.start("top", "--interval", "0.1", "--json")
    assert top.stdout is not None
    assert json.loads(top.stdout.readline())["doing"] == "replay"
    (bench.folder / "goes on").touch()
    bench.run("stop")
    stopped = bench.end(run)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    ended = bench.end(top)
    assert (ended.returncode, ended.stderr) == (0, f"chain.{run.pid} is over\n")
