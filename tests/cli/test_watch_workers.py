"""`microbox watch` in a chain of several workers: a process for each looks on, and who watches sees
one stream of events."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from endless import rounds
from terminal import Terminal

from microbox.testing import Traffic, merged, udp
from tests.conftest import Workbench

HOSTS = (1, 2)  # each is another worker's
TICKS = 6000  # ten minutes; the run is stopped long before
WORKERS = {"worker 1", "worker 2"}
MANY = 30  # events: more than come in a second at the lowest rate
TIMED_OUT = 124
INTERRUPTED = 130

TELL = """
class Tell(NetworkFunction):
    declares = {"flow.told": {"word": "text", "number": "u32"}}
    publishes = ["flow.told"]
    @on("udp.datagram")
    def tell(self, event):
        self.record(event, number=event.packet)
        self.publish("flow.told", event, word="one \\x1b[31m", number=7)
"""
# It is at work for a minute where nobody comes, and has soon read what there is when somebody does.
DAWDLE = """
class Dawdle(NetworkFunction):
    someone_looks = False
    @on("packet")
    def see(self, event):
        if not self.someone_looks:
            time.sleep(0.0002)
    @on("system.nf_attached")
    def hurry(self, event):
        self.someone_looks = True
"""
OUTDATED = """
from microbox.cli import main, replicas
replicas.workers_of = lambda control: 3
raise SystemExit(main.main())
"""
READ = """
class Read(NetworkFunction):
    declares = {"flow.told": {"word": "text", "number": "u32"}}
    @on("flow.told")
    def read(self, event): ...
"""


def ticking(times: int = TICKS) -> Traffic:
    """A datagram of each host each tenth of a second."""
    flows = [udp(f"10.5.0.{i}:3000", f"10.6.0.{i}:400{i}") for i in HOSTS]
    for flow in flows:
        for _ in range(times):
            flow.send(b"tick").wait(0.1)
    return merged(*flows)


def by_host(file: Path) -> dict[str, list[str]]:
    """Lines of a log."""
    found: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
        found.setdefault(json.loads(line)["src_ip"], []).append(line)
    return found


def packets(bench: Workbench) -> int:
    """That all workers have handled together."""
    found = json.loads(bench.run("ps", "--json").stdout)
    return sum(int(run["packets"]) for run in found)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A chain of two workers that runs, with an event of each in each tenth of a second."""
    bench = Workbench(tmp_path_factory.mktemp("watched"))
    capture = ticking().write(bench.folder / "ticking.pcap")
    chain = bench.chain(bench.nf("tell", TELL), bench.nf("read", READ), capture=capture, workers=2)
    run = bench.start("run", chain, "--pace", "1")
    bench.until(lambda: run.poll() is not None or packets(bench) > len(HOSTS))
    yield bench
    bench.run("stop")
    result = bench.end(run)
    leftovers = bench.processes()
    summary = bench.summary()
    alone = bench.run("run", chain, "-q", "-w", "alone")
    logs = [by_host(bench.folder / place / "tell.jsonl") for place in ("microbox-logs", "alone")]
    bench.clean_up()
    assert alone.returncode == 0, alone.stderr
    # A run that is stopped ends in each worker at a packet of its own.
    assert len(logs[0]) == len(HOSTS)
    assert logs[0] == {host: logs[1][host][: len(each)] for host, each in logs[0].items()}
    assert result.returncode == 128 + signal.SIGTERM, result.stderr
    assert leftovers == {}
    for balance in summary["balances"]:
        assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])


def names(bench: Workbench) -> list[str]:
    (run,) = json.loads(bench.run("ps", "--json").stdout)
    return [row["name"] for row in run["nfs"]]


@pytest.fixture(autouse=True)
def _undisturbed(bench: Workbench) -> Iterator[None]:
    """Nothing of who watched stays, of either worker."""
    yield
    bench.until(lambda: names(bench) == ["tell", "read"] * 2)


def lines(bench: Workbench, *arguments: str) -> list[str]:
    """What it prints with these arguments, where it has nothing to complain of."""
    result = bench.run("watch", *arguments)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout.splitlines()


def objects(bench: Workbench, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(bench, *arguments, "--json")]


def rest_of(watch: subprocess.Popen[str]) -> tuple[list[str], str]:
    """What it prints from here on, behind lines that were read, and complains of."""
    assert watch.stdout is not None
    assert watch.stderr is not None
    written = watch.stdout.readlines()
    complaints = watch.stderr.read()
    watch.wait(10)
    return written, complaints


def until_of_all(bench: Workbench, worker_of: Callable[[str], str], *arguments: str) -> list[str]:
    """What it prints until a line of each worker has come, and Ctrl-C ends it."""
    watch = bench.start("watch", *arguments)
    assert watch.stdout is not None
    read: list[str] = []
    missing = set(WORKERS)
    while missing:
        read.append(watch.stdout.readline())
        assert read[-1], watch.communicate()
        missing.discard(worker_of(read[-1]))
    watch.send_signal(signal.SIGINT)
    rest, complaints = rest_of(watch)
    assert (watch.returncode, complaints) == (0, "")
    return read + rest


@pytest.mark.parametrize("type", ["udp.datagram", "told"])
def test_events_of_all_workers_come(bench: Workbench, type: str) -> None:
    written = until_of_all(bench, lambda line: json.loads(line)["worker"], type, "--json")
    events = [json.loads(line) for line in written]
    owners = {(event["source"], event["worker"]) for event in events}
    assert len(owners) == len(HOSTS)  # each flow is one worker's


@pytest.mark.parametrize("type", ["udp.datagram", "told"])
def test_as_many_come_as_were_asked_for(bench: Workbench, type: str) -> None:
    events = objects(bench, type, "-n", "10")
    assert len(events) == 10
    assert {event["worker"] for event in events} <= WORKERS


def test_once_is_one_event_of_all(bench: Workbench) -> None:
    assert len(objects(bench, "packet", "--once")) == 1


def test_a_filter_holds_in_each(bench: Workbench) -> None:
    seen = set()
    for host in HOSTS:
        events = objects(bench, "udp.datagram", "-n", "5", "--filter", f"udp port 400{host}")
        assert {event["destination_port"] for event in events} == {4000 + host}
        seen |= {event["worker"] for event in events}
    assert seen == WORKERS


def test_csv_has_one_header_and_a_column(bench: Workbench) -> None:
    written = until_of_all(
        bench, lambda line: line.rstrip().rpartition(",")[2], "udp.datagram", "--csv"
    )
    rows = list(csv.DictReader(written))
    assert {row["worker"] for row in rows} == WORKERS
    assert {row["type"] for row in rows} == {"flow.udp.datagram"}


def worker_in(line: str) -> str:
    return line.split("  ")[1]


def test_lines_for_people_name_the_worker(bench: Workbench) -> None:
    assert set(map(worker_in, until_of_all(bench, worker_in, "udp.datagram"))) == WORKERS


def test_the_worker_is_a_field(bench: Workbench) -> None:
    chosen = ("--field", "worker", "--field", "word")
    written = until_of_all(bench, lambda line: line.split("\t")[0], "told", *chosen)
    assert set(written) == {f"{worker}\tone \\x1b[31m\n" for worker in WORKERS}


def test_in_a_terminal_it_is_shown_until_ctrl_c(bench: Workbench) -> None:
    terminal = Terminal(bench, "watch", "packet", columns=90, term="xterm")
    try:
        for worker in WORKERS:
            terminal.wait_for(worker)
        terminal.type("\x03")
        assert terminal.process.wait(10) == 0
    finally:
        terminal.close()


def test_ctrl_c_before_there_are_enough(bench: Workbench) -> None:
    watch = bench.start("watch", "packet", "-n", "1000000")
    assert watch.stdout is not None
    watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    result = bench.end(watch)
    assert (result.returncode, result.stderr) == (INTERRUPTED, "")


def test_a_filter_that_nothing_fits_times_out(bench: Workbench) -> None:
    result = bench.run("watch", "packet", "--filter", "tcp port 1", "--timeout", "0.2")
    assert result.returncode == TIMED_OUT
    assert (result.stdout, result.stderr) == ("", "no event came within 0.2 s\n")


def test_a_timeout_after_some_is_none(bench: Workbench) -> None:
    assert lines(bench, "packet", "--timeout", "3")


def test_a_reader_that_has_enough_ends_it_quietly(bench: Workbench) -> None:
    watch = bench.start("watch", "packet")
    assert watch.stdout is not None
    watch.stdout.readline()
    watch.stdout.close()
    assert watch.wait(10) == 0
    assert watch.stderr is not None
    assert watch.stderr.read() == ""


def test_a_rate_is_that_of_all(bench: Workbench) -> None:
    before = time.monotonic()
    result = bench.run("watch", "packet", "--rate", "1", "-n", "4")
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 4)
    assert time.monotonic() - before > 3  # the first came at once
    assert result.stderr.endswith(" events skipped\n")


def test_what_one_of_them_is_killed_by_ends_all(bench: Workbench) -> None:
    watch = bench.start("watch", "packet", "--json")
    assert watch.stdout is not None
    watch.stdout.readline()
    (run,) = json.loads(bench.run("ps", "--json").stdout)
    victim = next(row["process"] for row in run["nfs"] if row["name"].startswith("watch-"))
    os.kill(int(victim), signal.SIGKILL)
    result = bench.end(watch)
    assert result.returncode == 128 + signal.SIGKILL
    assert "one of the processes that look on was killed (signal 9)" in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr


def test_they_die_with_the_process_that_was_started(bench: Workbench) -> None:
    watch = bench.start("watch", "packet")
    assert watch.stdout is not None
    watch.stdout.readline()
    watch.kill()


def test_what_cannot_be_is_said_once(bench: Workbench) -> None:
    result = bench.run("watch", "alert")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("nobody publishes 'alert' in this chain") == 1


def test_a_run_of_another_number_of_workers_is_refused_once(bench: Workbench) -> None:
    """Another one may have begun since somebody asked how many it has."""
    watch = subprocess.run(
        [sys.executable, "-P", "-c", OUTDATED, "watch", "packet"],
        cwd=bench.folder,
        env=bench.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (watch.returncode, watch.stdout) == (2, "")
    assert watch.stderr.count("a process for each of 3; expected as many") == 1
    assert watch.stderr.count("\n") == 1, watch.stderr


# --- beside a run that ends ---


def skipped(stderr: str) -> int:
    """As it says last."""
    words = stderr.splitlines()[-1].split()
    assert words[1:] == ["events", "skipped"]
    return int(words[0].replace(",", ""))


def came(bench: Workbench, watch: subprocess.Popen[str]) -> int:
    """Events of those whom the run calls so: that they got, and that they were too slow for."""
    of_all = {nf["name"]: nf["matched"] + nf["lost"] for nf in bench.summary()["nfs"]}
    return int(of_all[f"watch-{watch.pid}"])


def test_they_end_with_the_run_and_have_counted_all(workbench: Workbench) -> None:
    capture = ticking().write(workbench.folder / "ticking.pcap")
    chain = workbench.chain(workbench.nf("tell", TELL), capture=capture, workers=2)
    run = workbench.start("run", chain, "-q", "--pace", "2")
    workbench.until(lambda: run.poll() is not None or packets(workbench))
    slow = workbench.start("watch", "packet", "--rate", "1", "--field", "packet")
    assert slow.stdout is not None
    assert slow.stdout.readline()
    counting = workbench.start("watch", "told", "-n", "1000000", "--field", "packet")
    assert counting.stdout is not None
    assert all(counting.stdout.readline() for _ in range(MANY))
    workbench.run("stop")
    workbench.end(run)
    rest, complaints = rest_of(slow)
    assert slow.returncode == 0
    assert 1 + len(rest) + skipped(complaints) == came(workbench, slow)
    rest, complaints = rest_of(counting)
    shown = MANY + len(rest)
    assert counting.returncode == 1
    assert shown == came(workbench, counting)
    assert complaints == f"{shown:,} of 1,000,000 events came before the run ended\n"


def test_of_far_more_than_can_be_looked_at_all_are_counted(workbench: Workbench) -> None:
    capture = ticking(1000).write(workbench.folder / "long.pcap")
    capture.write_bytes(b"".join(rounds(capture.read_bytes(), times=200)))
    dawdle = workbench.nf("dawdle", DAWDLE)
    chain = workbench.chain(dawdle, capture=capture, workers=2, log={"slots": 4096})
    run = workbench.start("run", chain, "-q")
    workbench.until(lambda: run.poll() is not None or packets(workbench))
    watch = workbench.start("watch", "packet", "--rate", "50", "--json")
    shown = workbench.end(watch)
    assert workbench.end(run).returncode == 0
    assert shown.returncode == 0
    assert 0 < len(shown.stdout.splitlines()) < skipped(shown.stderr)
    assert len(shown.stdout.splitlines()) + skipped(shown.stderr) == came(workbench, watch)


def test_a_worker_that_dies_ends_all(workbench: Workbench) -> None:
    capture = ticking().write(workbench.folder / "ticking.pcap")
    chain = workbench.chain(workbench.nf("tell", TELL), capture=capture, workers=2)
    run = workbench.start("run", chain, "-q", "--pace", "1")
    workbench.until(lambda: run.poll() is not None or packets(workbench))
    watch = workbench.start("watch", "packet", "-n", "1000000", "--field", "packet")
    assert watch.stdout is not None
    assert watch.stdout.readline()
    os.kill(workbench.worker(), signal.SIGKILL)
    rest, complaints = rest_of(watch)
    assert watch.returncode == 1
    assert complaints == f"{1 + len(rest):,} of 1,000,000 events came before the run ended\n"
    assert workbench.end(run).returncode == 1
    assert workbench.processes() == {}
