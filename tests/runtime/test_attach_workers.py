"""An NF is attached to a chain of several workers: it has a process for each, which come, leave and
die together, and sees what it sees of one worker."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from microbox.testing import Packet, Traffic, merged, tcp, udp
from tests.conftest import NF_PRELUDE, Workbench

HOUR = 3600 * 1_000_000_000
PAIRS = 30  # of hosts: no worker is left without one

COUNT = """
class Count(NetworkFunction):
    first = last = count = 0
    @on("packet")
    def see(self, event):
        if not self.count:
            print("sees", flush=True)
        self.count += 1
        self.record(event, number=event.packet)
    def finish(self):
        return {"count": self.count}
"""

FLOWS = """
class Flows(NetworkFunction):
    present = ended = 0
    @on("flow.present")
    def see(self, event):
        self.present += 1
        if self.present == 1:
            print("sees", flush=True)
        self.record(event, what="present")
    @on("tcp.end", "udp.end")
    def end(self, event):
        self.ended += 1
        self.record(event, what="ended")
        self.alert(event, "it ended")
    def finish(self):
        return {"present": self.present, "ended": self.ended}
"""

TOLD = """
class Told(NetworkFunction):
    publishes = ["flow.told"]
    declares = {"flow.told": {"number": "u32"}}
    @on("packet")
    def tell(self, event):
        self.publish("flow.told", event, number=event.packet)
"""
"""Shares more memory than others: a log."""

DROP = """
class Drop(NetworkFunction):
    def start(self):
        self.count = 0
    @on("packet.ip")
    def drop(self, event):
        self.count += 1
        if self.count == 1:
            print("sees", flush=True)
"""


class Guest:
    """An NF that is attached, with pipes for a terminal."""

    def __init__(self, bench: Workbench, *arguments: object) -> None:
        self._bench = bench
        self.process = bench.start("attach", *arguments)

    def wait_for(self, words: str, times: int = 1) -> None:
        """Until so many lines with these words are printed."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            times -= words in line
            if not times:
                return
        raise AssertionError(f"it ended: {lines}, {self._bench.end(self.process).stderr}")

    def end(self) -> subprocess.CompletedProcess[str]:
        return self._bench.end(self.process)

    def leave(self) -> subprocess.CompletedProcess[str]:
        self.process.send_signal(signal.SIGINT)
        return self.end()


def nfs(bench: Workbench) -> list[dict[str, Any]]:
    (run,) = json.loads(bench.run("ps", "--json").stdout)
    rows: list[dict[str, Any]] = run["nfs"]
    return rows


def names(bench: Workbench) -> list[str]:
    return [row["name"] for row in nfs(bench)]


def process_of(bench: Workbench, name: str, worker: int) -> int:
    rows = [row for row in nfs(bench) if row["name"] == name]
    return int(rows[worker - 1]["process"])


def packets(bench: Workbench) -> int:
    """That all workers have handled together."""
    found = json.loads(bench.run("ps", "--json").stdout)
    return sum(int(run["packets"]) for run in found)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Iterator[Workbench]:
    """A chain of two workers that runs slowly, for all tests that leave it as they found it."""
    bench = Workbench(tmp_path_factory.mktemp("attach"))
    bench.nf("count", COUNT)
    chain = bench.chain(bench.nf("own", COUNT.replace("Count", "Own")), capture=demo, workers=2)
    run = bench.start("run", chain, "--pace", "0.1")
    bench.until(lambda: run.poll() is not None or packets(bench))
    yield bench
    bench.run("stop")
    result = bench.end(run)
    summary = bench.summary()
    leftovers = bench.processes()
    bench.clean_up()
    assert result.returncode == 143, result.stderr
    assert leftovers == {}
    assert not list((bench.folder / "microbox-logs").glob("*.part"))
    numbers = [line["number"] for line in bench.log("own")]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == summary["input"]["packets"]
    for balance in summary["balances"]:
        assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])


@pytest.fixture
def undisturbed(bench: Workbench) -> Iterator[None]:
    """What was attached is gone, of each worker."""
    yield
    bench.until(lambda: names(bench) == ["own"] * 2)


# --- the same as of one worker ---


def rest(bench: Workbench, workers: int) -> subprocess.Popen[str]:
    """A chain whose capture has a gap of an hour, in which it stands."""
    flows: list[Any] = [udp(f"10.1.0.{i}:5000", f"10.2.0.{i}:53").send(b"?") for i in range(PAIRS)]
    flows += [tcp(f"10.3.0.{i}:1000", f"10.4.0.{i}:80").send(b"!") for i in range(PAIRS)]
    first = merged(*flows)
    late = Packet(first[-1].time + HOUR, first[0].data)
    capture = Traffic([*first, late]).write(bench.folder / "traffic.pcap")
    run = bench.start("run", bench.chain("flow_log", capture=capture, workers=workers), "--pace", 1)
    bench.until(lambda: run.poll() is not None or packets(bench) == len(first))
    return run


def test_it_sees_of_two_workers_what_it_sees_of_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    logs, documents = [], []
    for workers in (1, 2):
        bench = Workbench(tmp_path_factory.mktemp("rest"))
        run = rest(bench, workers)
        guest = Guest(bench, bench.nf("flows", FLOWS), "--catch-up", "flows", "--json")
        bench.until(partial(has_seen_flows, bench))
        assert bench.run("stop").returncode == 0
        result = guest.end()
        bench.end(run)
        assert result.returncode == 0, result.stderr
        document = json.loads(result.stdout)
        documents.append({key: document[key] for key in ("outcome", "summary", "records")})
        lines = [bench.log(name) for name in ("flows", "alert_log")]
        logs.append([sorted(map(json.dumps, each)) for each in lines])
        summary = bench.summary()
        for balance in summary["balances"]:
            assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])
        bench.clean_up()
    assert documents[0]["summary"] == {"present": 2 * PAIRS, "ended": 2 * PAIRS}
    assert documents[0] == documents[1]
    assert logs[0] == logs[1]


def has_seen_flows(bench: Workbench) -> bool:
    handled = [row["handled"] for row in nfs(bench) if row["name"] == "flows"]
    return sum(map(int, handled)) == 2 * PAIRS


def numbers_in_part(bench: Workbench, name: str, worker: int) -> list[int]:
    """Of the packets that its process for a worker has seen, as far as they are written."""
    part = bench.folder / "microbox-logs" / f"{name}.worker-{worker}.part"
    lines = part.read_text().splitlines(keepends=True)
    return [json.loads(line[65:])["number"] for line in lines if line.endswith("\n")]


def has_come_to(bench: Workbench, worker: int, packet: int) -> bool:
    return numbers_in_part(bench, "own", worker)[-1] > packet


@pytest.mark.usefixtures("undisturbed")
def test_it_sees_each_packet_once(bench: Workbench) -> None:
    guest = Guest(bench, "./count.py", "--name", "once")
    guest.wait_for("sees", times=2)
    result = guest.leave()
    assert result.returncode == 0, result.stderr
    assert "once is attached, from events " in result.stderr
    assert result.stderr.count("leaves the chain") == 1
    numbers = [number for worker in (1, 2) for number in numbers_in_part(bench, "once", worker)]
    for worker in (1, 2):
        its = numbers_in_part(bench, "once", worker)
        bench.until(partial(has_come_to, bench, worker, its[-1]))
        own = numbers_in_part(bench, "own", worker)
        first, last = own.index(its[0]), len(own) - 1 - own[::-1].index(its[-1])
        assert its == own[first : last + 1]
    assert f"left: saw {len(numbers):,} events" in result.stdout
    assert f"{len(numbers):,} records in {bench.folder}/microbox-logs/once.jsonl" in result.stdout
    assert f"count {len(numbers):,}" in result.stdout


@pytest.mark.usefixtures("undisturbed")
def test_others_write_what_they_write_without_it(workbench: Workbench, demo: Path) -> None:
    chain = workbench.chain("flow_log", "http_log", capture=demo, workers=2)
    few = ("-c", 5000)
    assert workbench.run("run", chain, "-q", "-w", "alone", *few).returncode == 0
    run = workbench.start("run", chain, "-q", "-w", "together", *few, "--pace", "0.3")
    workbench.until(lambda: run.poll() is not None or packets(workbench))
    guest = Guest(workbench, workbench.nf("count", COUNT))
    guest.wait_for("sees", times=2)
    assert workbench.end(run).returncode == 0
    assert "finished: saw " in guest.end().stdout
    for name in ("flow_log", "http_log"):
        files = [workbench.folder / place / f"{name}.jsonl" for place in ("alone", "together")]
        assert files[0].read_bytes() == files[1].read_bytes()


# --- all or nothing ---


@pytest.mark.usefixtures("undisturbed")
def test_somebody_else_takes_all_of_it_out(bench: Workbench) -> None:
    guest = Guest(bench, "./count.py")
    guest.wait_for("sees", times=2)
    result = bench.run("detach", "count")
    assert (result.returncode, result.stderr) == (0, "")
    assert guest.end().returncode == 0


@pytest.fixture
def narrow(bench: Workbench) -> Iterator[None]:
    """The second worker can map nothing large."""
    (run,) = json.loads(bench.run("ps", "--json").stdout)
    worker = run["workers"][1]["process"]
    size = int(Path(f"/proc/{worker}/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.prlimit(worker, resource.RLIMIT_AS)
    resource.prlimit(worker, resource.RLIMIT_AS, (size + (1 << 20), limits[1]))
    yield
    resource.prlimit(worker, resource.RLIMIT_AS, limits)


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="sanitizers need address space without end"
)
@pytest.mark.usefixtures("undisturbed")
def test_where_one_worker_cannot_no_other_does(
    bench: Workbench, request: pytest.FixtureRequest
) -> None:
    told = bench.nf("told", TOLD)
    request.getfixturevalue("narrow")
    result = bench.run("attach", told)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: worker 2: cannot map the area of NF 1: Cannot allocate memory\n"
    )
    assert names(bench) == ["own"] * 2
    chain = bench.folder / "chain.yaml"
    before = chain.read_text()
    chain.write_text(json.dumps({**json.loads(before), "chain": ["./own.py", "./told.py"]}))
    result = bench.run("reload")
    chain.write_text(before)
    assert result.returncode == 1
    assert "nothing was changed: worker 2: cannot map the area of NF 1" in result.stderr


@pytest.mark.usefixtures("undisturbed")
def test_where_it_was_refused_it_may_come_later(bench: Workbench) -> None:
    guest = Guest(bench, "./count.py", "--name", "later")
    guest.wait_for("sees", times=2)
    assert guest.leave().returncode == 0


@pytest.mark.usefixtures("undisturbed")
def test_where_one_of_its_processes_dies_the_others_leave(bench: Workbench) -> None:
    for _ in range(2):
        guest = Guest(bench, "./count.py")
        guest.wait_for("sees", times=2)
        os.kill(process_of(bench, "count", worker=2), signal.SIGKILL)
        result = guest.end()
        assert result.returncode == 128 + signal.SIGKILL
        assert "left: saw " in result.stdout
        bench.until(lambda: names(bench) == ["own"] * 2)


@pytest.mark.usefixtures("undisturbed")
def test_they_die_with_the_process_that_was_started(bench: Workbench) -> None:
    guest = Guest(bench, "./count.py")
    guest.wait_for("sees", times=2)
    guest.process.kill()


@pytest.mark.usefixtures("undisturbed")
def test_a_handler_that_raises_ends_all_of_it(bench: Workbench) -> None:
    code = COUNT.replace("self.count += 1", "raise ValueError('unheard of')")
    result = bench.run("attach", bench.nf("raises", code))
    assert result.returncode == 1
    assert "see(): ValueError: unheard of (on packet" in result.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("class Broken(NetworkFunction)\n", "expected ':'"),
        (COUNT.replace('"packet"', '"pakket"'), "unknown event type 'pakket'"),
        (f"{COUNT}    per_flow = False\n", "so 2 workers cannot share them out"),
        (f"{COUNT}    def start(self): 1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
@pytest.mark.usefixtures("undisturbed")
def test_what_is_wrong_is_said_once(bench: Workbench, code: str, words: str) -> None:
    result = bench.run("attach", bench.nf("wrong", code))
    assert result.returncode == 2
    assert words in result.stderr
    assert result.stderr.count("error: ") == 1, result.stderr


ROGUE = """
import sys
from pathlib import Path
from microbox.channel.channel import Channel
from microbox.channel.messages import Join
from microbox.runtime.control.attach_socket import connect

ours = Channel(connect(Path(sys.argv[1])))
source = str(Path("count.py").absolute())
ours.send(Join("rogue", source, {}, "/", terminal=1, worker=0, workers=2))
print(ours.receive()[0].error)
"""


@pytest.mark.usefixtures("undisturbed")
def test_who_does_not_come_for_each_worker_is_refused(bench: Workbench) -> None:
    (socket,) = (bench.folder / "microbox").glob("*.attach")
    rogues = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", ROGUE, socket],
            cwd=bench.folder,
            env=bench.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert {rogue.communicate(timeout=60)[0] for rogue in rogues} == {
        "only 1 of 2 processes of 'rogue' came\n",
        "rogue of worker 1 is a second one for worker 0\n",
    }


def test_one_that_fails_closed_stops_its_packets_of_all_workers(
    workbench: Workbench, demo: Path
) -> None:
    chain = workbench.chain("flow_log", capture=demo, output="out.pcap", workers=2)
    run = workbench.start("run", chain, "--pace", "0.3")
    workbench.until(lambda: run.poll() is not None or packets(workbench))
    (workbench.folder / "drop.py").write_text("from microbox import DROP\n" + NF_PRELUDE + DROP)
    guest = Guest(workbench, "./drop.py", "--on-failure", "closed")
    guest.wait_for("sees", times=2)
    os.kill(process_of(workbench, "drop", worker=1), signal.SIGKILL)
    assert guest.end().returncode == 128 + signal.SIGKILL
    workbench.until(lambda: names(workbench) == ["flow_log"] * 2)
    before = packets(workbench)
    workbench.until(lambda: packets(workbench) > before)
    workbench.run("stop")
    result = workbench.end(run)
    assert "drop of worker 2, which was attached, was ended, since drop of worker 1" in (
        result.stderr
    )
    (nf,) = [nf for nf in workbench.summary()["nfs"] if nf["attached"]]
    assert nf["gate"]["packets"]["nf.failed_closed"] > 0
