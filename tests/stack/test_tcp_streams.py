"""Connections of every shape: very long, of one side alone, with the server first, with SACK."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from stack_driver import ACK, Endpoint, Packed, Stack, Subscription
from stack_driver import client_and_server as two_ends
from stack_driver.packets import maximum_segment_size, sack, sack_permitted, window_scale

WRAP = 1 << 32
IP_LENGTH_MAX = 65535
HEADERS = 40  # IPv4 and TCP
ETHERNET = 14
LENGTH = IP_LENGTH_MAX - HEADERS  # payload of the largest segment


def large_segments(sender: Endpoint, count: int, time: int) -> Packed:
    """The next `count` segments of the largest length, of which a capture has the headers alone."""
    row = np.frombuffer(sender.segment(ACK), "u1")
    rows = np.tile(row, (count, 1))
    first = sender.first + 1 + sender.sent
    numbers = (first + LENGTH * np.arange(count, dtype="u8")) % WRAP
    rows[:, 16:18] = np.frombuffer(struct.pack(">H", IP_LENGTH_MAX), "u1")
    rows[:, 38:42] = numbers.astype(">u4").view("u1").reshape(count, 4)
    sender.sent += LENGTH * count
    packed = Packed.of_rows(rows, time)
    packed.records["wire_length"] = ETHERNET + IP_LENGTH_MAX
    return packed


def test_a_stream_of_more_than_4_gib() -> None:
    """Its sequence numbers come round; offsets have 64 bits."""
    read = Subscription(("tcp.data", "tcp.gap", "tcp.end"))
    with Stack((read,)) as stack:
        client, server = two_ends()
        client.options = b""
        opening = [one.syn(options=window_scale(14)) for one in (client, server)]
        stack.send(*opening, client.ack(), client.data(b"first"))
        while client.sent <= WRAP + (1 << 20):
            stack.send_packed(large_segments(client, 8000, stack.time))
            stack.send(server.ack())
        cut = client.sent - len(b"first")
        stack.send(client.data(b"last"), server.ack(), client.fin(), server.fin(), client.ack())
        pieces = stack.stream(0)
        assert (pieces[0], pieces[-1]) == (b"first", b"last")
        assert sum(piece for piece in pieces if isinstance(piece, int)) == cut
        data = stack.events("tcp.data")[-1]
        assert data.offset == len(b"first") + cut > WRAP
        assert [one.reason for one in stack.events("tcp.end")] == ["fin"]


def test_numbers_that_come_round_hold_a_segment_back_as_any_others() -> None:
    with Stack() as stack:
        client, server = two_ends(first=(WRAP - 4, WRAP - 1))
        stack.send(client.syn(), server.syn(), client.ack())
        stack.send(client.data(b"world", at=6), client.data(b"hello ", at=0), server.ack())
        assert stack.bytes_of(0) == b"hello world"


def test_one_side_alone_is_followed() -> None:
    """A capture that has nothing of what the server sends."""
    with Stack() as stack:
        client, server = two_ends()
        opening = client.syn()
        server.syn()
        stack.send(opening, client.ack(), client.data(b"ask "))
        server.sent += 1000
        stack.send(client.data(b"again", at=9), client.data(b"once ", at=4), client.fin())
        stack.finish()
        assert stack.stream(0) == [b"ask once again"]
        (end,) = stack.events("tcp.end")
        assert end.sides[0].next == client.first + 1 + client.sent + 1


def test_the_server_may_be_seen_first() -> None:
    """The SYN was missed; who the SYN/ACK is for has opened the connection."""
    with Stack() as stack:
        client, server = two_ends()
        client.syn()
        stack.send(server.syn(), client.ack(), client.data(b"ask"), server.data(b"answer"))
        (start,) = stack.events("tcp.start")
        assert start.source_port == client.port
        assert stack.bytes_of(0) == b"ask"
        assert stack.bytes_of(1) == b"answer"
        assert [one.state for one in stack.entries[-1].sides] == ["ESTABLISHED"] * 2


def test_a_server_that_speaks_first_may_be_picked_up() -> None:
    with Stack() as stack:
        client, server = two_ends()
        server.sent = 50
        stack.send(server.data(b"220 ready"), client.ack(), client.data(b"EHLO"))
        answer = stack.events("tcp.start")[0].source_port != server.port
        assert stack.bytes_of(int(answer)) == b"220 ready"
        assert stack.bytes_of(1 - int(answer)) == b"EHLO"


# --- SACK ---


NOT_SENT = (
    pytest.param(sack((101 + 50_000, 101 + 60_000)), id="of bytes that were never sent"),
    pytest.param(sack((0, WRAP - 1)), id="of all numbers"),
    pytest.param(sack((111, 105)), id="that ends before it begins"),
    pytest.param(sack((107, 107)), id="of nothing"),
    pytest.param(sack(*[(101 + 1 << 31, 7)] * 4), id="half the numbers away"),
    pytest.param(b"\5\2", id="without a block"),
    pytest.param(b"\5\1", id="shorter than an option"),
    pytest.param(b"\5\0", id="of no length"),
    pytest.param(b"\5\x0b" + bytes(9), id="of a block and a byte"),
    pytest.param(b"\5\xff" + bytes(8), id="longer than the header"),
)


@pytest.mark.parametrize("options", NOT_SENT)
def test_a_false_sack_block_changes_nothing(options: bytes) -> None:
    with Stack() as stack:
        client, server = two_ends()
        client.options = b""
        opening = [one.syn(options=sack_permitted()) for one in (client, server)]
        stack.send(*opening, client.ack(), client.data(b"first "))
        before = stack.entries[-1].sides
        stack.send(*[server.segment(ACK, acknowledging=6, options=options)] * 5)
        after = stack.entries[-1].sides
        assert [one.next for one in after] == [one.next for one in before]
        assert [one.state for one in after] == ["ESTABLISHED"] * 2
        stack.send(client.data(b"third", at=12))
        stack.send(*[server.segment(ACK, acknowledging=6, options=options)] * 5)
        stack.send(client.data(b"second", at=6), server.ack())
        assert stack.bytes_of(0) == b"first secondthird"


def test_sack_panic_costs_and_changes_nothing() -> None:
    """CVE-2019-11477: the least segment size, segments of 8 bytes, and SACK blocks over many."""
    with Stack() as stack:
        client, server = two_ends()
        options = maximum_segment_size(48) + sack_permitted()
        stack.send(*[one.syn(options=options) for one in (client, server)], client.ack())
        segments = [client.data(b"8 bytes.") for _ in range(500)]
        blocks = [(101 + 16 * i, 109 + 16 * i) for i in range(250)]
        claims = [
            server.segment(ACK, acknowledging=0, options=sack(*blocks[i : i + 4]))
            for i in range(0, len(blocks), 4)
        ]
        stack.send(segments[0], *claims, *segments[1:], *claims, server.ack())
        stack.finish()
        assert stack.bytes_of(0) == b"8 bytes." * 500
        assert stack.counters.flows_tcp == 1
