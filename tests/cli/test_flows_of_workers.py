"""`microbox flows` and `microbox trace` of a chain with several workers show what they show of one
worker, over the same capture."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from microbox.cli.trace import trace
from microbox.testing import Traffic, merged, tcp, udp
from tests.conftest import Workbench

PAIRS = 40  # of hosts: no worker is left without one
TICKING = (1, 2)  # hosts whose flows go on while they are looked at; each is another worker's
AT_A_LOOK = 10  # packets of a flow that are traced before those of the next one

LOOK = """
class Look(NetworkFunction):
    inline = True
    @on("udp.datagram", filter="port 4000")
    def look(self, event):
        pass
"""


def silent() -> Traffic:
    """Connections and datagrams, all at once."""
    flows: list[Any] = [udp(f"10.1.0.{i}:5000", f"10.2.0.{i}:53").send(b"?") for i in range(PAIRS)]
    for i in range(PAIRS):
        flow = tcp(f"10.3.0.{i}:1000", f"10.4.0.{i}:80").send(b"!" * (i + 1))
        flows.append(flow.finish(by="originator") if i % 2 else flow)
    return merged(*flows)


def ticking() -> Traffic:
    """For three minutes, so that the chain does not come to its end while it is looked at."""
    flows = [udp(f"10.5.0.{i}:3000", f"10.6.0.{i}:4000") for i in TICKING]
    for flow in flows:
        for _ in range(1800):
            flow.send(b"tick").wait(0.1)
    return Traffic(merged(*flows)).later(1.2)


def size_of(traffic: Traffic) -> int:
    """In a capture file, with the headers."""
    return 24 + sum(16 + len(packet.data) for packet in traffic)


@dataclass
class Run:
    """A chain that runs, and has had all packets of the silent flows."""

    bench: Workbench
    workers: int
    process: subprocess.Popen[str]

    def has_begun(self) -> bool:
        """Each worker has had the packets of all flows that are silent, or it has failed."""
        found = json.loads(self.bench.run("ps", "--json").stdout)
        read = [worker["file_read"] for run in found for worker in run["workers"]]
        return self.process.poll() is not None or min(read, default=0) > size_of(silent())

    def shown(self, *arguments: str) -> str:
        result = self.bench.run("flows", *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        document = json.loads(self.shown(*arguments, "--json", "--all"))
        rows: list[dict[str, Any]] = document["flows"]
        return rows


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Run]]:
    """By the number of workers."""
    started = {}
    for workers in (1, 2):
        bench = Workbench(tmp_path_factory.mktemp("flows"))
        capture = merged(silent(), ticking()).write(bench.folder / "traffic.pcap")
        look = bench.nf("look", LOOK)
        chain = bench.chain("flow_log", look, capture=capture, workers=workers)
        started[workers] = Run(bench, workers, bench.start("run", chain, "--pace", "1"))
    for run in started.values():
        run.bench.until(run.has_begun)
    yield started
    for run in started.values():
        run.bench.run("stop")
        result = run.bench.end(run.process)
        summary = run.bench.summary()
        leftovers = run.bench.processes()
        run.bench.clean_up()
        assert result.returncode == 143, result.stderr
        assert leftovers == {}
        assert [nf["outcome"] for nf in summary["nfs"] if nf["attached"]]
        assert {nf["outcome"] for nf in summary["nfs"] if nf["attached"]} == {"left"}
        for balance in summary["balances"]:
            assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    """What two looks at different times have in common."""
    return {name: value for name, value in row.items() if name not in ("age", "idle", "worker")}


def test_all_flows_of_all_workers_are_shown_as_of_one(runs: dict[int, Run]) -> None:
    one, two = (run.rows("--filter", "not port 4000", "--sort", "src_ip") for run in runs.values())
    assert len(one) == 2 * PAIRS
    assert list(map(without_time, two)) == list(map(without_time, one))
    assert {row["worker"] for row in one} == {"worker"}
    assert {row["worker"] for row in two} == {"worker 1", "worker 2"}


def test_they_are_sorted_and_cut_over_all_workers(runs: dict[int, Run]) -> None:
    for run in runs.values():
        rows = run.rows("--filter", "tcp", "-n", "5")
        assert [row["bytes_toserver"] for row in rows] == [PAIRS - i for i in range(5)]


def test_the_column_worker_is_there_where_there_are_several(runs: dict[int, Run]) -> None:
    for run in runs.values():
        first, *lines = run.shown("--filter", "port 4000").splitlines()
        assert first.split()[-1] == ("worker" if run.workers > 1 else "idle")
        assert len(lines) == len(TICKING)
        assert all(" worker " in line for line in lines) == (run.workers > 1)
        rows = csv.DictReader(run.shown("--filter", "port 4000", "--csv").splitlines())
        assert len({row["worker"] for row in rows}) == run.workers


def test_packets_of_flows_of_all_workers_are_traced(
    runs: dict[int, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in runs.values():
        for name, value in run.bench.environment().items():
            monkeypatch.setenv(name, value)
        assert trace("udp port 4000", count=AT_A_LOOK + 1, timeout=90, json=True) == 0
        packets = json.loads(capsys.readouterr().out)["packets"]
        assert len(packets) == AT_A_LOOK + 1
        assert all([one["nf"] for one in packet["nfs"]] == ["look"] for packet in packets)
        owners = {row["flow_id"]: row["worker"] for row in run.rows("--filter", "port 4000")}
        assert len({owners[packet["flow_id"]] for packet in packets}) == run.workers


def test_each_worker_measures_its_packets(
    runs: dict[int, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs[2]
    for name, value in run.bench.environment().items():
        monkeypatch.setenv(name, value)
    for row in run.rows("--filter", "port 4000"):
        packet = measured(f"{row['flow_id']}", capsys)
        assert {part["part"] for part in packet["stack"]["parts"]} == {"decode", "udp"}


def measured(flow: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """A packet of the flow whose time in the stack is known: of some it is not, where the thread
    that watches has to wait for a processor for too long."""
    for _ in range(10):
        assert trace(flow, count=1, timeout=60, json=True) == 0
        (packet,) = json.loads(capsys.readouterr().out)["packets"]
        if packet["stack"]:
            return dict(packet)
    raise AssertionError("the worker measures nothing")


def test_nothing_of_it_stays(runs: dict[int, Run]) -> None:
    for run in runs.values():
        (row,) = json.loads(run.bench.run("ps", "--json").stdout)
        assert [nf["name"] for nf in row["nfs"]] == ["flow_log", "look"] * run.workers


def test_a_filter_that_takes_nothing_shows_nothing(runs: dict[int, Run]) -> None:
    result = runs[2].bench.run("flows", "--filter", "port 9")
    assert (result.returncode, result.stdout) == (0, "")
    assert "no flows" in result.stderr
