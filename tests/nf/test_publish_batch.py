"""`publish_batch`: what many calls of `publish` would say, in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microbox import Batch, Event, NetworkFunction, on, on_batch
from microbox.events.catalog import built_in
from microbox.ffi.layout import payload_layout
from microbox.testing import RunFailed, run_nf
from tests.nf.conftest import MakeCapture, connection, udp
from tests.nf.test_publication import KINDS

ODD = "udp.datagram.odd"
SIZED = {"size": "u16", "note": "text"}
FUNCTION_SCOPED = [HealthCheck.function_scoped_fixture]


def listener(fields: Mapping[str, str], name: str = ODD) -> type[NetworkFunction]:
    class Listener(NetworkFunction):
        declares = {name: fields}  # noqa: RUF012

        def start(self) -> None:
            self.heard: list[tuple[Any, ...]] = []

        @on(name)
        def listen(self, event: Event) -> None:
            fields = [getattr(event, one.name) for one in event.type.fields]
            self.heard.append((event.packet, event.time, event.flow.id, event.cause, *fields))

    return Listener


def heard(chain: list[type[NetworkFunction]], path: Any) -> list[tuple[Any, ...]]:
    result: list[tuple[Any, ...]] = run_nf(chain, path).nf.heard  # type: ignore[attr-defined]
    return result


@st.composite
def columns(draw: st.DrawFn) -> tuple[dict[str, str], list[int], dict[str, list[Any]]]:
    """Fields of a type; rows of a batch of nine; a column for each field."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
    fields = {f"field{number}": kind for number, kind in enumerate(kinds)}
    rows = draw(st.lists(st.integers(0, 8), min_size=1, max_size=20))
    values = {
        name: draw(st.lists(KINDS[kind], min_size=len(rows), max_size=len(rows)))
        for name, kind in fields.items()
    }
    return fields, rows, values


@given(columns())
@settings(max_examples=20, deadline=None, suppress_health_check=FUNCTION_SCOPED)
def test_it_says_what_many_calls_would(
    capture: MakeCapture, drawn: tuple[dict[str, str], list[int], dict[str, list[Any]]]
) -> None:
    fields, rows, values = drawn

    class Base(NetworkFunction):
        declares = {ODD: fields}  # noqa: RUF012
        publishes = (ODD,)

    class AtOnce(Base):
        @on_batch("udp.datagram")
        def speak(self, batch: Batch) -> None:
            kinds = {name: KINDS_NUMPY.get(kind) for name, kind in fields.items()}
            given = {
                name: column if kinds[name] is None else np.array(column, kinds[name])
                for name, column in values.items()
            }
            self.publish_batch(ODD, batch, rows, **given)

    class OneByOne(Base):
        @on_batch("udp.datagram")
        def speak(self, batch: Batch) -> None:
            for place, row in enumerate(rows):
                given = {name: column[place] for name, column in values.items()}
                self.publish(ODD, batch[row], **given)

    path = capture([udp(b"%d" % number) for number in range(9)])
    at_once = heard([AtOnce, listener(fields)], path)
    assert at_once == heard([OneByOne, listener(fields)], path)
    assert len(at_once) == len(rows)


KINDS_NUMPY = {"u8": "u1", "u16": "u2", "u32": "u4", "u64": "u8", "i64": "i8", "f64": "f8"}


def test_all_rows_chosen_rows_and_one_value_for_all(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        declares = {ODD: SIZED}  # noqa: RUF012
        publishes = (ODD,)

        @on_batch("udp.datagram")
        def speak(self, batch: Batch) -> None:
            self.publish_batch(ODD, batch, size=batch.data_length, note="all")
            self.publish_batch(ODD, batch, batch.data_length > 2, size=7, note=["a", b"b"])
            self.publish_batch(ODD, batch, [], size=1)

    told = heard([Speaker, listener(SIZED)], capture([udp(b"x" * n) for n in (1, 4, 2, 3)]))
    assert [(one[0], *one[-2:]) for one in told] == [
        *((1 + place, size, "all") for place, size in enumerate((1, 4, 2, 3))),
        (2, 7, "a"),
        (4, 7, "b"),
    ]


def test_an_event_may_be_the_cause_of_many(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        declares = {ODD: SIZED}  # noqa: RUF012
        publishes = (ODD,)

        @on("udp.datagram")
        def speak(self, event: Event) -> None:
            self.publish_batch(ODD, event, size=range(event.packet), note=event.packet * ["x"])
            self.publish_batch(ODD, event, size=99)

    told = heard([Speaker, listener(SIZED)], capture([udp(b"x")] * 3))
    sizes = [(one[0], one[-2]) for one in told]
    assert sizes == [(n, size) for n in (1, 2, 3) for size in (*range(n), 99)]


def test_a_flows_addresses_are_as_opened_whoever_sent_the_packet(capture: MakeCapture) -> None:
    name = "flow.tcp.seen"

    class Speaker(NetworkFunction):
        declares = {name: {}}  # noqa: RUF012
        publishes = (name,)

        @on_batch("packet.ip.tcp")
        def speak(self, batch: Batch) -> None:
            self.publish_batch(name, batch)

        @on("tcp.end")
        def end(self, _: Event) -> None:
            """So that the stack knows flows, and thereby who opened them."""

    frames = connection([b"x"])
    told = heard([Speaker, listener({}, name)], capture(frames))
    places = [one.name for one in built_in().resolve("flow.tcp").fields]
    ends = {
        (row[4 + places.index("source_port")], row[4 + places.index("destination_port")])
        for row in told
    }
    assert ends == {(1234, 80)}
    assert {row[0] for row in told} == set(range(1, 1 + len(frames)))
    assert len(told) == len(frames)


def test_addresses_are_texts_or_a_batchs_column(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        declares = {ODD: {}}  # noqa: RUF012
        publishes = (ODD,)

        @on_batch("udp.datagram")
        def speak(self, batch: Batch) -> None:
            self.publish_batch(ODD, batch, source="2001:db8::1", destination=batch.source)
            self.publish_batch(ODD, batch, source=["192.0.2.1"])

    told = heard([Speaker, listener({})], capture([udp(b"x")]))
    names = [one.name for one in built_in().resolve("udp.datagram").fields]
    ends = [(row[4 + names.index("source")], row[4 + names.index("destination")]) for row in told]
    assert ends == [("2001:db8::1", "10.0.0.1"), ("192.0.2.1", "10.0.0.2")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": [1, 2]}, "column 'size' has 2 values for 1 events"),
        ({"size": 65536}, "column 'size' is of u16, but 65536 (int) was given"),
        ({"size": [0.5]}, "column 'size' is of u16, but [0.5] (list) was given"),
        ({"size": "1"}, "column 'size' is of u16, but '1' (str) was given"),
        ({"note": [1]}, "column 'note' is of text, but [1] (list) was given"),
        ({"source": ["nowhere"]}, "column 'source' is of address"),
        ({"sice": 1}, "there is no field 'sice'; did you mean 'size'?"),
    ],
)
def test_a_wrong_column_is_named(
    capture: MakeCapture, arguments: dict[str, Any], message: str
) -> None:
    class Speaker(NetworkFunction):
        declares = {ODD: SIZED}  # noqa: RUF012
        publishes = (ODD,)

        @on_batch("udp.datagram")
        def speak(self, batch: Batch) -> None:
            self.publish_batch(ODD, batch, **arguments)

    with pytest.raises(RunFailed) as error:
        run_nf([Speaker, listener(SIZED)], capture([udp(b"x")]))
    assert f"publish_batch('flow.{ODD}'): {message}" in str(error.value)


def test_rows_are_those_of_the_batch(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        declares = {ODD: SIZED}  # noqa: RUF012
        publishes = (ODD,)

        @on_batch("udp.datagram")
        def speak(self, batch: Batch) -> None:
            self.publish_batch(ODD, batch, [1], size=1)

    with pytest.raises(RunFailed, match="rows of a batch of 1: index 1 is out of bounds"):
        run_nf([Speaker, listener(SIZED)], capture([udp(b"x")]))


def test_the_share_of_a_batch_is_half_of_the_log(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        declares = {ODD: SIZED}  # noqa: RUF012
        publishes = (ODD,)

        @on_batch("udp.datagram")
        def speak(self, batch: Batch) -> None:
            self.publish_batch(ODD, batch, np.zeros(10_000, int), size=1)

    with pytest.raises(RunFailed, match=r"too many publications .*\(8192 of 10000 were"):
        run_nf([Speaker, listener(SIZED)], capture([udp(b"x")]))


def test_thousands_from_one_call_all_come_in_order(capture: MakeCapture) -> None:
    assert payload_layout(built_in().resolve("udp.datagram")).size <= 56  # two fit beside it

    class Speaker(NetworkFunction):
        declares = {ODD: SIZED}  # noqa: RUF012
        publishes = (ODD,)

        @on_batch("udp.datagram")
        def speak(self, batch: Batch) -> None:
            rows = np.repeat(np.arange(len(batch)), 20)
            self.publish_batch(ODD, batch, rows, size=np.arange(len(rows)), note="n" * 30)

    told = heard([Speaker, listener(SIZED)], capture([udp(b"%d" % n) for n in range(300)]))
    assert [one[-2] for one in told] == list(range(6000))
