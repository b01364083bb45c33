"""`microbox watch` on a chain that runs: in a pipe, and in a terminal."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest
from endless import rounds
from live_pipe import Pipe
from terminal import Terminal

from microbox.cli.watching import Budget
from tests.conftest import Workbench

TIMED_OUT = 124


def lines(steady: Workbench, *arguments: str, status: int = 0) -> list[str]:
    """What `microbox watch` prints with these arguments, where it has nothing to complain of."""
    result = steady.run("watch", *arguments)
    assert (result.returncode, result.stderr) == (status, ""), result.stderr
    return result.stdout.splitlines()


def objects(steady: Workbench, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(steady, *arguments, "--json")]


def test_json_has_the_fields_and_both_sides_of_the_flow(steady: Workbench) -> None:
    first, second = objects(steady, "tcp.end", "-n", "2")
    assert first["type"] == "flow.tcp.end"
    assert (first["source"], first["destination_port"]) == ("192.0.2.10", 80)
    assert (first["reason"], first["worker"]) == ("fin", "worker")
    originator = first["snapshot"]["originator"]
    assert (originator["bytes"], originator["packets"]) == (89, 6)
    assert second["packet"] == first["packet"] + 12


def test_what_a_parser_publishes(steady: Workbench) -> None:
    (event,) = objects(steady, "http.request", "--once", "--filter", "tcp dst port 80")
    assert (event["method"], event["target"]) == ("GET", "/hello.txt")


def test_a_type_of_the_chains_own(steady: Workbench) -> None:
    (event,) = objects(steady, "told", "--once")
    assert (event["word"], event["number"]) == ("one \x1b[31m", 7)


def test_csv_has_a_row_with_names_in_front(steady: Workbench) -> None:
    rows = list(csv.DictReader(lines(steady, "tcp.end", "-n", "2", "--csv")))
    assert [row["type"] for row in rows] == ["flow.tcp.end"] * 2
    assert {row["originator_state"] for row in rows} == {"TIME_WAIT"}


def test_fields_alone_without_what_steers_a_terminal(steady: Workbench) -> None:
    written = lines(steady, "told", "--once", "--field", "word", "--field", "number")
    assert written == ["one \\x1b[31m\t7"]


def test_a_filter_that_nothing_fits_times_out(steady: Workbench) -> None:
    result = steady.run("watch", "packet", "--filter", "tcp port 1", "--timeout", "0.2")
    assert result.returncode == TIMED_OUT
    assert result.stderr == "no event came within 0.2 s\n"


def test_what_nobody_publishes_is_refused(steady: Workbench) -> None:
    result = steady.run("watch", "alert")
    assert (result.returncode, result.stdout) == (2, "")
    assert "nobody publishes 'alert' in this chain" in result.stderr


def test_a_reader_that_has_enough_ends_it_quietly(steady: Workbench) -> None:
    watch = steady.start("watch", "packet")
    assert watch.stdout is not None
    watch.stdout.readline()
    watch.stdout.close()
    assert watch.wait(10) == 0
    assert watch.stderr is not None
    assert watch.stderr.read() == ""


def test_of_too_many_a_sample_is_shown_and_the_rest_counted(steady: Workbench) -> None:
    result = steady.run("watch", "packet", "--rate", "4", "--timeout", "1")
    shown = len(result.stdout.splitlines())
    assert result.returncode == 0
    assert 4 <= shown <= 12
    assert result.stderr.endswith(" events skipped\n")


@pytest.mark.parametrize("option", ["-n", "--timeout", "--rate"])
def test_none_is_no_limit(steady: Workbench, option: str) -> None:
    result = steady.run("watch", "packet", option, "0")
    assert result.returncode == 2
    assert f"error: {option}: 0 is no number of" in result.stderr


def test_in_a_terminal_lines_are_aligned_cut_and_coloured(steady: Workbench) -> None:
    terminal = Terminal(steady, "watch", "flow.tcp", columns=90, term="xterm")
    try:
        terminal.wait_for("tcp.start")
        row = terminal.wait_for("…")
        terminal.type("\x03")
        assert terminal.process.wait(10) == 0
    finally:
        terminal.close()
    assert "\x1b[32m192.0.2.10:42382 → 198.51.100.10:80 T" in row


def test_what_is_shown_and_what_is_skipped_are_all_that_came(
    workbench: Workbench, demo: Path
) -> None:
    """Of far more than can be looked at, in a log that holds a small part of it."""
    turns, packets, fragmented = 30, 10_587, 4
    pipe = Pipe(workbench, workbench.chain("flow_log", log={"slots": 4096}), "-q")
    header, *traffic = rounds(demo.read_bytes(), times=turns)
    pipe.write(header)
    workbench.until(lambda: "flow_log" in workbench.run("ps").stdout)
    watch = workbench.start("watch", "packet", "--rate", "50")
    workbench.until(lambda: "watch" in workbench.run("ps").stdout)
    for one in traffic:
        pipe.write(one)
    pipe.writer.close()
    shown = workbench.end(watch)
    assert workbench.end(pipe.run).returncode == 0
    skipped = int(shown.stderr.splitlines()[-1].split()[0].replace(",", ""))
    assert 0 < len(shown.stdout.splitlines()) < 1000
    assert len(shown.stdout.splitlines()) + skipped == turns * (packets + fragmented)


def test_after_a_pause_no_more_is_shown_than_a_second_brings() -> None:
    rate = 20
    budget = Budget(rate)
    assert all(budget.take() for _ in range(rate // 2))
    time.sleep(1)
    began = time.monotonic()
    taken = 0
    while budget.take():
        taken += 1
    assert rate <= taken <= rate + rate * (time.monotonic() - began)
