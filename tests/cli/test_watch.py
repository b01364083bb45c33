"""`microbox watch` on a chain that runs: in a pipe, and in a terminal."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal
from traffic import repeated

from tests.conftest import Workbench

EXCHANGES = 3000  # in five minutes, at ten a second; the run is stopped long before
TIMED_OUT = 124

TELL = """
class Tell(NetworkFunction):
    declares = {"flow.told": {"word": "text", "number": "u32"}}
    publishes = ["flow.told"]
    @on("tcp.start")
    def tell(self, event):
        self.publish("flow.told", event, word="one \\x1b[31m", number=7)
"""
READ = """
class Read(NetworkFunction):
    declares = {"flow.told": {"word": "text", "number": "u32"}}
    @on("flow.told")
    def read(self, event): ...
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Iterator[Workbench]:
    """A chain that runs."""
    bench = Workbench(tmp_path_factory.mktemp("watch"))
    capture = repeated(sample, bench.folder / "steady.pcap", times=EXCHANGES, apart=0.1)
    nfs = [bench.nf("tell", TELL), bench.nf("read", READ), "http_log"]
    run = bench.start("run", bench.chain(*nfs, capture=capture), "--pace", "1")
    bench.until(lambda: run.poll() is not None or "packets" in bench.run("ps").stdout)
    yield bench
    bench.run("stop")
    result = bench.end(run)
    bench.clean_up()
    assert result.returncode == 128 + signal.SIGTERM, result.stderr


def lines(bench: Workbench, *arguments: str, status: int = 0) -> list[str]:
    """What `microbox watch` prints with these arguments, where it has nothing to complain of."""
    result = bench.run("watch", *arguments)
    assert (result.returncode, result.stderr) == (status, ""), result.stderr
    return result.stdout.splitlines()


def objects(bench: Workbench, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(bench, *arguments, "--json")]


def test_json_has_the_fields_and_both_sides_of_the_flow(bench: Workbench) -> None:
    first, second = objects(bench, "tcp.end", "-n", "2")
    assert first["type"] == "flow.tcp.end"
    assert (first["source"], first["destination_port"]) == ("192.0.2.10", 80)
    assert first["reason"] == "fin"
    originator = first["snapshot"]["originator"]
    assert (originator["bytes"], originator["packets"]) == (89, 6)
    assert second["packet"] == first["packet"] + 12


def test_what_a_parser_publishes(bench: Workbench) -> None:
    (event,) = objects(bench, "http.request", "--once", "--filter", "tcp dst port 80")
    assert (event["method"], event["target"]) == ("GET", "/hello.txt")


def test_a_type_of_the_chains_own(bench: Workbench) -> None:
    (event,) = objects(bench, "told", "--once")
    assert (event["word"], event["number"]) == ("one \x1b[31m", 7)


def test_csv_has_a_row_with_names_in_front(bench: Workbench) -> None:
    rows = list(csv.DictReader(lines(bench, "tcp.end", "-n", "2", "--csv")))
    assert [row["type"] for row in rows] == ["flow.tcp.end"] * 2
    assert {row["originator_state"] for row in rows} == {"TIME_WAIT"}


def test_fields_alone_without_what_steers_a_terminal(bench: Workbench) -> None:
    written = lines(bench, "told", "--once", "--field", "word", "--field", "number")
    assert written == ["one \\x1b[31m\t7"]


def test_a_filter_that_nothing_fits_times_out(bench: Workbench) -> None:
    result = bench.run("watch", "packet", "--filter", "tcp port 1", "--timeout", "0.2")
    assert result.returncode == TIMED_OUT
    assert result.stderr == "no event came within 0.2 s\n"


def test_what_nobody_publishes_is_refused(bench: Workbench) -> None:
    result = bench.run("watch", "alert")
    assert (result.returncode, result.stdout) == (2, "")
    assert "nobody publishes 'alert' in this chain" in result.stderr


def test_a_reader_that_has_enough_ends_it_quietly(bench: Workbench) -> None:
    watch = bench.start("watch", "packet")
    assert watch.stdout is not None
    watch.stdout.readline()
    watch.stdout.close()
    assert watch.wait(10) == 0
    assert watch.stderr is not None
    assert watch.stderr.read() == ""


def test_of_too_many_a_sample_is_shown_and_the_rest_counted(bench: Workbench) -> None:
    result = bench.run("watch", "packet", "--rate", "4", "--timeout", "1")
    shown = len(result.stdout.splitlines())
    assert result.returncode == 0
    assert 4 <= shown <= 12
    assert result.stderr.endswith(" events skipped\n")


def test_in_a_terminal_lines_are_aligned_cut_and_coloured(bench: Workbench) -> None:
    terminal = Terminal(bench, "watch", "flow.tcp", columns=90, term="xterm")
    try:
        terminal.wait_for("tcp.start")
        row = terminal.wait_for("…")
        terminal.type("\x03")
        assert terminal.process.wait(10) == 0
    finally:
        terminal.close()
    assert "\x1b[32m192.0.2.10:42382 → 198.51.100.10:80 T" in row
