"""What conditions say of entries, as docs/guide/conditions.md promises."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from microbox.events.catalog import built_in

Compile = Callable[..., Any]

FROM_RESPONDER = 1
ESTABLISHED = 4


def address(text: str) -> bytes:
    packed = ip_address(text).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


@pytest.fixture
def segment(entry: Any) -> Any:
    """From 10.1.2.3:5000 to 192.0.2.1:80, sent by the originator."""
    tuple_ = entry.payload.tcp_data.flow.tuple
    tuple_.source, tuple_.destination = address("10.1.2.3"), address("192.0.2.1")
    tuple_.source_port, tuple_.destination_port, tuple_.protocol = 5000, 80, 6
    entry.time, entry.packet, entry.flow = 9_000_000_000, 7, 3
    originator, responder = entry.snapshot.side
    originator.window, responder.window = 100, 200
    originator.state, originator.round_trip = ESTABLISHED, 1500
    return entry


TRUE = [
    "source_port == 5000 and destination_port == 80",
    "source == 10.1.2.3",
    "source in 10.0.0.0/8",
    "source not in 11.0.0.0/8",
    "not source in (192.168.0.0/16, 2001:db8::/32)",
    "source in (192.168.0.0/16, 10.1.2.3)",
    "source in 0.0.0.0/0",
    "source != destination",
    "flow.source == source",
    "destination_port in (22, 80..90)",
    "source_port in 1024..65535",
    "protocol == TCP",
    "direction == originator",
    "reason == none",
    "originator.window == 100 and responder.window == 200",
    "side.window == 100 and peer.window == 200",
    "side.state == ESTABLISHED",
    "side.round_trip == 1500us and side.round_trip < 2ms",
    "flow.age == 8s",
    "flow.age / 3s == 2 and flow.age % 3s == 2s",
    "data startswith 'GET '",
    'data startswith x"47 45 54"',
    "data.length == 6 and data == 'GET /\\n'",
    "data != 'GET /'",
    "data[0] == 0x47 and data[data.length - 1] == 10",
    "1 + 2 * 3 == 7",
    "(1 + 2) * 3 == 9",
    "7 - 2 - 1 == 4",
    "-7 / 2 == -4 and -7 % 2 == 1",
    "6 & 3 | 8 == 10",
    "true or data[99] == 1",
    "not false and true",
    "false or not false",
    "1KiB == 1024 and 1kB == 1000",
    "packet == 7 and flow.id == 3",
    "true == (1 < 2)",
]


@pytest.mark.parametrize("when", TRUE)
def test_a_condition_that_holds(judge: Compile, segment: Any, when: str) -> None:
    assert judge(when)(segment, b"GET /\n", started=1_000_000_000) is True
    assert judge(f"not ({when})")(segment, b"GET /\n", started=1_000_000_000) is False


@pytest.mark.parametrize(
    "when",
    [
        "1 / (data.length - 6) == 0",
        "1 % (data.length - 6) == 0",
        "data[6] == 0",
        "data[-1] == 0",
        "9223372036854775807 + packet > 0",
        "9223372036854775807 * packet > 0",
        "false or data[6] == 0",
        "true and data[6] == 0",
    ],
)
def test_what_has_no_result_holds_neither_way(judge: Compile, segment: Any, when: str) -> None:
    assert judge(when)(segment, b"GET /\n") is None
    assert judge(f"not ({when})")(segment, b"GET /\n") is None


def test_a_side_goes_by_the_direction(judge: Compile, segment: Any) -> None:
    segment.flags = FROM_RESPONDER
    assert judge("side.window == 200 and peer.window == 100")(segment)
    assert judge("direction == responder and direction == 1")(segment)


def test_fields_of_a_packet(judge: Compile, entry: Any) -> None:
    entry.payload.packet.tcp_flags = 0x12
    entry.payload.packet.ttl = 3
    on = "packet.ip.tcp"
    assert judge("tcp_flags & (SYN | ACK | FIN) == SYN | ACK", on)(entry)
    assert judge("ttl < 5 and source == destination", on)(entry)


def test_reasons_and_states_go_by_name(judge: Compile, entry: Any) -> None:
    entry.reason = next(one.number for one in built_in().reasons if one.name == "gap.limit")
    assert judge("reason == gap.limit", "tcp.gap")(entry)
    assert judge("reason in (fin, gap.limit)", "tcp.gap")(entry)
    entry.payload.tcp_state_change.after = ESTABLISHED
    assert judge("after == ESTABLISHED and before != after", "tcp.state")(entry)


def test_counters_include_the_event_in_hand(judge: Compile, entry: Any) -> None:
    third = judge("seen == 3", counters={"seen": "true"})
    assert [third(entry) for _ in range(5)] == [False, False, True, False, False]


def test_a_counter_may_add_a_number_and_name_one_above_it(judge: Compile, entry: Any) -> None:
    counters = {"total": "data.length", "late": "total > 4"}
    second = judge("late == 2 and total == 9", counters=counters)
    assert [second(entry, b"abc") for _ in range(4)] == [False, False, True, False]


def test_at_most_so_often(judge: Compile, entry: Any) -> None:
    twice = judge("data.length > 0", at_most=2)
    lengths = [b"", b"a", b"", b"a", b"a"]
    assert [twice(entry, data) for data in lengths] == [False, True, False, True, False]


def test_what_fails_counts_what_came_before(judge: Compile, entry: Any) -> None:
    counted = judge("data[0] == 65", counters={"seen": "true"})
    assert [counted(entry, data) for data in (b"", b"A")] == [None, True]
    assert counted.counters[0] == 2
