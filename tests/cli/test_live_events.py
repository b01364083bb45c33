"""`microbox events --live`: the hierarchy of a chain that runs, in a pipe and in a terminal."""

from __future__ import annotations

import io
import json

from rich.console import Console
from terminal import Terminal

from microbox.cli.event_rates import Look, Node, nodes
from microbox.cli.event_sums import sums
from microbox.cli.live_events import table_of
from microbox.cli.watched_types import RunTypes
from tests.conftest import Workbench

TYPES = RunTypes(
    {
        "publishers": {"flow.tcp.data.http.request": ["http_parser"]},
        "subscribers": {"flow.tcp.data.http": ["http_log"], "packet.ip.udp": ["count"]},
    }
)


def look(at: float, **published: int) -> Look:
    """Of a made-up run: events by the type's last word."""
    counts = {TYPES.resolve(name).name: count for name, count in published.items()}
    return Look(TYPES, counts, sums(counts), at)


def shown(root: str = "event") -> dict[str, Node]:
    before = look(10.0, data=100, request=10)
    now = look(12.0, data=300, request=20)
    return {one.type.name: one for one in nodes(TYPES.resolve(root), before, now)}


def test_counts_and_rates_add_up_from_below() -> None:
    found = shown()
    assert (found["flow.tcp.data"].count, found["flow.tcp.data"].total) == (300, 320)
    assert found["flow.tcp.data"].rate == (320 - 110) / 2
    assert found["event"].total == 320


def test_who_publishes_and_who_reads_stand_at_their_types() -> None:
    found = shown()
    assert found["flow.tcp.data"].publishers == ["stack"]
    assert found["flow.tcp.data.http.request"].publishers == ["http_parser"]
    assert found["flow.tcp.data.http"].subscribers == ["http_log"]


def test_only_what_somebody_has_to_do_with_is_shown_below_its_parents() -> None:
    assert list(shown()) == [
        "event",
        "packet",
        "packet.ip",
        "packet.ip.udp",
        "flow",
        "flow.tcp",
        "flow.tcp.data",
        "flow.tcp.data.http",
        "flow.tcp.data.http.request",
    ]
    assert [one.depth for one in shown("tcp.data").values()] == [0, 1, 2]


def test_a_row_counts_what_is_below_it_too() -> None:
    written = io.StringIO()
    Console(file=written, width=100).print(table_of([*shown("tcp.data").values()]))
    rows = [line.split() for line in written.getvalue().splitlines()]
    assert rows[1:] == [
        ["flow.tcp.data", "320", "105", "stack"],
        ["http", "20", "5", "http_log"],
        ["request", "20", "5", "http_parser"],
    ]


def test_json_of_a_chain_that_runs(steady: Workbench) -> None:
    result = steady.run("events", "--live", "tcp", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert document["run"].startswith("chain.")
    by_name = {one["name"]: one for one in document["types"]}
    start = by_name["flow.tcp.start"]
    assert start["parent"] == "flow.tcp"
    assert (start["publishers"], start["subscribers"]) == (["stack"], ["tell"])
    assert 0 < start["rate"] <= start["total"] == start["count"]


def test_in_a_terminal_it_goes_on_until_ctrl_c(steady: Workbench) -> None:
    terminal = Terminal(steady, "events", "--live", "told", term="xterm")
    try:
        terminal.wait_for("flow.told")
        terminal.wait_for("tell")
        terminal.wait_for("flow.told")  # once more, over the first
        terminal.type("\x03")
        assert terminal.process.wait(10) == 0
    finally:
        terminal.close()


def test_options_that_do_not_go_together(steady: Workbench) -> None:
    result = steady.run("events", "--once")
    assert result.returncode == 2
    assert "expected --live beside them" in result.stderr
