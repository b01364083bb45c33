"""Events as lines, of each form: of real events."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import microbox
from microbox.cli.event_columns import HEAD, chosen, columns
from microbox.cli.event_lines import CsvLines, FieldLines, JsonLines, Lines, TextLines, printable
from microbox.cli.watched_types import RunTypes
from microbox.events.catalog import built_in

CATALOG = built_in()


def written(lines: Lines, capture: Path, *types: str) -> list[str]:
    """The lines of all events of these types."""
    return [lines.line(event) for event in microbox.events(capture, *types)]


def text(type: str, capture: Path, *, in_colour: bool = False) -> list[str]:
    lines = TextLines(CATALOG.resolve(type), CATALOG, in_terminal=False, in_colour=in_colour)
    return written(lines, capture, type)


def test_people_see_when_who_what_and_both_sides(sample: Path) -> None:
    (line,) = text("tcp.end", sample)
    time, _, rest = line.partition("  ")
    assert time.endswith(":22.674106")
    assert rest == (
        "192.0.2.10:42382 → 198.51.100.10:80 TCP       duration=0.055447s reason=fin"
        "  [TIME_WAIT 6p 89B | CLOSED 4p 241B]\n"
    )


def test_the_type_is_said_where_there_are_several_and_columns_are_aligned(sample: Path) -> None:
    lines = text("flow.tcp", sample)
    assert {"tcp.start", "tcp.data", "tcp.end"} <= {line.split()[1] for line in lines}
    assert len({line.index("192.0.2.10") for line in lines}) == 1


def test_the_arrow_says_who_sent_it(sample: Path) -> None:
    request, response = text("tcp.data", sample)
    assert "192.0.2.10:42382 → 198.51.100.10:80" in request
    assert "192.0.2.10:42382 ← 198.51.100.10:80" in response


def test_colours_add_nothing_but_themselves(sample: Path) -> None:
    (plain,), (coloured,) = text("tcp.end", sample), text("tcp.end", sample, in_colour=True)
    assert coloured != plain
    for code in ("\x1b[2m", "\x1b[32m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured.rstrip() == plain.rstrip()


def test_json_keeps_each_nanosecond_and_has_the_snapshot(sample: Path) -> None:
    (line,) = written(JsonLines({}, "worker"), sample, "tcp.end")
    assert line.startswith('{"time": 1795474222.674106803, "type": "flow.tcp.end", "packet": 12,')
    event = json.loads(line)
    assert event["snapshot"]["responder"]["bytes"] == 241
    assert event["snapshot"]["originator"]["state"] == "TIME_WAIT"


@pytest.mark.parametrize("names", [["started"], []])
def test_the_time_of_a_flows_first_packet_is_written_as_the_events_own(
    sample: Path, names: list[str]
) -> None:
    fields = chosen(names, CATALOG.resolve("flow.end"), CATALOG, "")
    (end,) = written(JsonLines(fields, ""), sample, "tcp.end")
    (start,) = written(FieldLines(HEAD), sample, "tcp.start")
    assert f'"started": {start.split()[0]}' in end
    assert isinstance(json.loads(end)["started"], float)


def test_a_field_of_its_own_is_written_so_too(sample: Path) -> None:
    lines = FieldLines(chosen(["started"], CATALOG.resolve("flow.end"), CATALOG, ""))
    begun = FieldLines(chosen(["time"], CATALOG.resolve("flow.start"), CATALOG, ""))
    assert set(written(lines, sample, "flow.end")) == set(written(begun, sample, "flow.start"))


def test_csv_rows_fit_their_header(sample: Path) -> None:
    lines = CsvLines(columns(CATALOG.resolve("flow"), "worker"))
    rows = list(csv.DictReader([lines.header, *written(lines, sample, "flow")]))
    assert all(None not in row and None not in row.values() for row in rows)
    assert rows[-1]["type"] == "flow.udp.end"


def test_chosen_fields_in_each_form(sample: Path) -> None:
    data = CATALOG.resolve("tcp.data")
    fields = chosen(["destination_port", "data"], data, CATALOG, "worker")
    first = "GET /hello.txt HTTP/1.1"
    assert written(FieldLines(fields), sample, "tcp.data")[0].startswith(f"80\t{first}\\r\\n")
    assert json.loads(written(JsonLines(fields, "worker"), sample, "tcp.data")[0])[
        "data"
    ].startswith(first)
    assert CsvLines(fields).header == "destination_port,data\n"


def test_a_field_that_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"'sourc' is no field of flow.tcp.end; did you mean"):
        chosen(["sourc"], CATALOG.resolve("tcp.end"), CATALOG, "worker")


def test_nothing_that_came_from_the_network_steers_a_terminal() -> None:
    assert printable("a\x1b[2J\x9b31m\u202eb\nc") == "a\\x1b[2J\\x9b31m\\u202eb\\nc"
    assert printable("größer → 中") == "größer → 中"


def test_of_what_the_stack_and_nfs_publish_the_stacks_is_read() -> None:
    types = RunTypes({"publishers": {"alert": ["guard"]}})
    everything = types.reading(types.resolve("event"))
    assert everything.skips
    assert everything.left_out == ["alert"]
    assert "timer" not in everything.types  # nobody asks for one
    assert not {"alert", "flow.tcp.data.http.request"} & {*everything.types}
    alerts = types.reading(types.resolve("alert"))
    assert (alerts.types, alerts.skips) == (["alert"], False)
    with pytest.raises(ValueError, match="nobody publishes 'alert' in this chain"):
        RunTypes({}).reading(types.resolve("alert"))
