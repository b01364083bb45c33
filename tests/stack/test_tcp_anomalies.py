"""What is unusual about a segment is told, and changes no more than it would at the receiver.

Each test: an ordinary connection, one oddity, and what becomes of the connection afterwards.
"""

from __future__ import annotations

import pytest
from stack_driver import (
    ACK,
    FIN,
    PSH,
    RST,
    SECOND,
    SYN,
    URG,
    WRONG,
    Endpoint,
    Hosts,
    Stack,
    Subscription,
)
from stack_driver import client_and_server as two_ends
from stack_driver.packets import authentication, fast_open, md5_signature, timestamps, window_scale

from microbox.chain.stack_settings import JUDGEMENTS

DAY = 86400 * SECOND


def connected(stack: Stack, options: bytes = b"") -> tuple[Endpoint, Endpoint]:
    """A handshake; the streams begin at 101 and 301."""
    client, server = two_ends()
    client.options = server.options = options
    stack.send(client.syn(), server.syn(), client.ack())
    return client, server


def anomalies(stack: Stack) -> list[str]:
    return [one.type.removeprefix("flow.tcp.anomaly.") for one in stack.events("tcp.anomaly")]


def test_an_ordinary_connection_has_no_anomaly() -> None:
    with Stack(checksums="event") as stack:
        client, server = connected(stack)
        stack.send(client.data(b"ask"), server.data(b"answer"), client.fin(), server.fin())
        stack.send(client.ack())
        assert anomalies(stack) == []
        assert stack.events("tcp.end")[0].reason == "fin"


# --- segments that the receiver may not see, or not take ---


@pytest.mark.parametrize(
    ("judgement", "told", "taken"),
    [
        ("ignore", [], b"XXXX"),
        ("report", ["bad_checksum"], b"XXXX"),
        ("refuse", ["bad_checksum"], b"true"),
    ],
)
def test_a_bad_checksum_is_judged_as_configured(
    judgement: str, told: list[str], taken: bytes
) -> None:
    with Stack(checksums="event", bad_checksum=JUDGEMENTS[judgement]) as stack:
        client, _server = connected(stack)
        stack.send(client.segment(ACK | PSH, b"XXXX", at=0, checksum=WRONG), client.data(b"true"))
        assert [name for name in anomalies(stack) if name == "bad_checksum"] == told
        assert stack.bytes_of(0) == taken


def test_what_expires_on_the_way_is_refused() -> None:
    with Stack(hosts=(Hosts("10.0.0.0/8", hops=5),)) as stack:
        client, server = connected(stack)
        stack.send(client.segment(ACK | PSH, b"XXXX", at=0, ttl=5), client.data(b"true"))
        stack.send(client.segment(RST, at=4, ttl=3), server.ack())
        assert anomalies(stack) == ["low_ttl", "low_ttl"]
        assert stack.bytes_of(0) == b"true"


def test_a_ttl_far_below_the_usual_one_is_told_once() -> None:
    with Stack() as stack:
        client, _server = connected(stack)
        stack.send(client.segment(ACK, b"a", at=0, ttl=60))
        assert anomalies(stack) == []
        stack.send(client.segment(ACK, b"b", at=1, ttl=30), client.segment(ACK, b"c", at=2, ttl=30))
        assert anomalies(stack) == ["unusual_ttl"]
        assert stack.bytes_of(0) == b"abc"


def test_refused_for_its_ttl_until_the_receiver_acknowledges_it() -> None:
    """A route changed: the receiver has what was refused, and the side is judged anew."""
    with Stack(unusual_ttl=JUDGEMENTS["refuse"]) as stack:
        client, server = connected(stack)
        client.ttl = 30
        stack.send(client.data(b"lost"))
        assert anomalies(stack) == ["unusual_ttl"]
        stack.send(server.ack(), client.data(b"more"), server.ack())
        assert anomalies(stack) == ["unusual_ttl", "unsent_acknowledgment", "out_of_order"]


@pytest.mark.parametrize("signature", [md5_signature(), authentication()], ids=["MD5", "TCP-AO"])
def test_a_signature_that_the_handshake_did_not_have_is_refused(signature: bytes) -> None:
    with Stack() as stack:
        client, _server = connected(stack)
        stack.send(client.segment(ACK | PSH, b"XXXX", at=0, options=signature))
        stack.send(client.data(b"true"))
        assert anomalies(stack) == ["unexpected_signature"]
        assert stack.bytes_of(0) == b"true"


@pytest.mark.parametrize("signature", [md5_signature(), authentication()], ids=["MD5", "TCP-AO"])
def test_signed_connections_are_signed_throughout(signature: bytes) -> None:
    with Stack() as stack:
        client, _server = connected(stack, signature)
        stack.send(client.data(b"true"))
        assert anomalies(stack) == []
        assert stack.bytes_of(0) == b"true"


def test_an_old_timestamp_is_refused() -> None:
    with Stack() as stack:
        client, server = connected(stack, timestamps(1000))
        stack.send(client.segment(ACK | PSH, b"XXXX", at=0, options=timestamps(999)))
        stack.send(client.data(b"true"), server.ack())
        assert anomalies(stack) == ["old_timestamp"]
        assert stack.bytes_of(0) == b"true"


def test_timestamps_wrap() -> None:
    with Stack() as stack:
        client, server = connected(stack, timestamps(0xFFFFFFFF))
        client.options = timestamps(5)
        stack.send(client.data(b"one"), server.ack(), client.data(b"two"))
        assert anomalies(stack) == []


def test_a_segment_that_was_overtaken_is_not_old() -> None:
    with Stack() as stack:
        client, _server = connected(stack, timestamps(1000))
        first = client.segment(ACK | PSH, b"one", at=0, options=timestamps(1001))
        second = client.segment(ACK | PSH, b"two", at=3, options=timestamps(1002))
        stack.send(second, first)
        assert "old_timestamp" not in anomalies(stack)
        assert stack.bytes_of(0) == b"onetwo"


def test_after_24_days_of_silence_no_timestamp_is_old() -> None:
    with Stack(tcp_timeout=100 * DAY) as stack:
        client, _server = connected(stack, timestamps(1000))
        for _ in range(25 * 24):
            stack.advance(DAY // 24)
            stack.send(client.segment(ACK, at=0, options=timestamps(1)))
        stack.send(client.segment(ACK | PSH, b"true", at=0, options=timestamps(1)))
        assert anomalies(stack) == []
        assert stack.bytes_of(0) == b"true"


def test_an_acknowledgement_far_out_of_the_window_is_refused_with_its_bytes() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.segment(ACK | PSH, b"XXXX", at=0, acknowledgment=0x40000000))
        stack.send(client.data(b"true"), server.data(b"x" * 100), client.ack())
        stack.send(client.segment(ACK | PSH, b"YY", at=4, acknowledgment=0xF0000000))
        assert anomalies(stack) == ["ack_out_of_window", "ack_out_of_window"]
        assert stack.bytes_of(0) == b"true"


def test_an_acknowledgement_of_what_was_not_seen_is_told_and_not_believed() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.segment(ACK | PSH, b"true", at=0, acknowledging=50))
        assert anomalies(stack) == ["unsent_acknowledgment"]
        stack.send(server.data(b"x"))
        assert stack.entries[-1].sides[0].acknowledged == 301
        assert stack.bytes_of(0) == b"true"


def test_a_capture_that_lost_much_is_followed_on() -> None:
    """The capture has a hole of a megabyte; both sides agree on where they are."""
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(server.data(b"seen"), client.ack())
        server.sent += 1_000_000
        stack.send(client.ack(), server.data(b"on it goes"))
        stack.send(client.ack(), server.data(b" and on"))
        stack.send(*[client.ack()] * 3)
        assert stack.stream(1) == [b"seen", 1_000_000, b"on it goes and on"]


@pytest.mark.parametrize(("judgement", "taken"), [("report", b"x" * 20), ("refuse", b"x" * 8)])
def test_bytes_past_the_window_are_judged_as_configured(judgement: str, taken: bytes) -> None:
    with Stack(beyond_window=JUDGEMENTS[judgement]) as stack:
        client, server = connected(stack)
        server.window = 10
        stack.send(server.ack())
        stack.send(client.data(b"x" * 8), client.data(b"x" * 12))
        assert anomalies(stack) == ["beyond_window"]
        assert stack.bytes_of(0) == taken


def test_bytes_far_past_the_window_are_refused() -> None:
    with Stack() as stack:
        client, _server = connected(stack)
        stack.send(client.segment(ACK | PSH, b"far", at=200_000), client.data(b"near"))
        assert anomalies(stack)[-1] == "out_of_window"
        stack.finish()
        assert stack.stream(0) == [b"near"]


# --- openings ---


def test_a_forged_syn_changes_nothing() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.segment(SYN, sequence=0x7000), server.ack(), client.data(b"goes on"))
        stack.send(server.segment(SYN | ACK, sequence=0x9000, acknowledgment=101))
        assert anomalies(stack) == ["syn_in_established"] * 2
        assert stack.bytes_of(0) == b"goes on"
        assert stack.counters.flows_tcp == 1


def test_the_answer_to_a_forged_syn_in_the_window_opens_nothing() -> None:
    """Its number is chosen so that the acknowledgement of what went before looks like one."""
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.segment(SYN, sequence=100 + 4), server.segment(ACK, acknowledging=4))
        assert stack.counters.flows_tcp == 1


def test_a_port_is_used_again_when_the_other_side_answers() -> None:
    """RFC 9293 section 3.5.1, half-open: the client has crashed and comes back."""
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.data(b"before"), server.ack())
        again, answer = two_ends(first=(0x7000, 0x9000))
        stack.send(again.syn(options=window_scale(7)), server.ack(), client.rst(6), again.syn())
        assert stack.counters.flows_tcp == 1
        stack.send(answer.syn(), again.ack(), again.data(b"after"))
        first, second = stack.events("tcp.start")
        assert [one.reason for one in stack.events("tcp.end")] == ["rst"]
        assert stack.bytes_of(0, flow=first.flow) == b"before"
        assert stack.bytes_of(0, flow=second.flow) == b"after"
        assert second.source_port == 1000
        assert len(stack.events("tcp.established")) == 2


def test_of_several_syn_acks_the_one_counts_that_is_answered() -> None:
    with Stack() as stack:
        client, server = two_ends()
        forged = server.segment(SYN | ACK, sequence=0x5555, acknowledgment=101)
        stack.send(client.syn(), server.syn(), forged, client.ack(), server.data(b"true"))
        assert anomalies(stack) == ["syn_ack_different"]
        assert stack.bytes_of(1) == b"true"


def test_a_syn_ack_for_another_syn_is_refused() -> None:
    with Stack() as stack:
        client, server = two_ends()
        stack.send(client.syn(), server.segment(SYN | ACK, sequence=5, acknowledgment=0x7777))
        stack.send(server.syn(), client.ack(), server.data(b"true"))
        assert anomalies(stack) == ["unsent_acknowledgment"]
        assert stack.bytes_of(1) == b"true"


def test_both_sides_may_open() -> None:
    with Stack() as stack:
        client, server = two_ends()
        stack.send(client.segment(SYN, sequence=100), server.segment(SYN, sequence=300))
        stack.send(client.segment(SYN | ACK, sequence=100), server.segment(SYN | ACK, sequence=300))
        stack.send(client.ack())
        assert anomalies(stack)[0] == "split_handshake"
        assert len(stack.events("tcp.established")) == 1


@pytest.mark.parametrize(("options", "told"), [(b"", ["data_in_syn"]), (fast_open(b"c" * 8), [])])
def test_data_in_a_syn_belongs_to_fast_open(options: bytes, told: list[str]) -> None:
    with Stack() as stack:
        client, server = two_ends()
        client.sent = 5
        stack.send(client.syn(b"early", options=options), server.syn(), client.data(b"later"))
        assert anomalies(stack) == told
        assert stack.bytes_of(0) == b"earlylater"


def test_bytes_in_a_syn_that_nobody_takes_are_none_of_the_stream() -> None:
    """The SYN/ACK acknowledges the SYN alone (RFC 9293 section 3.10.7.3)."""
    with Stack() as stack:
        client, server = two_ends()
        stack.send(client.syn(b"GET /public HTTP/1.0"))
        assert stack.bytes_of(0) == b""
        stack.send(server.syn(), client.ack())
        assert stack.entries[-1].sides[0].next == 101
        stack.send(client.data(b"GET /secret HTTP/1.0"), server.ack())
        stack.finish()
        assert stack.stream(0) == [b"GET /secret HTTP/1.0"]
        assert anomalies(stack) == ["data_in_syn"]
        assert stack.reasons["tcp.syn_bytes_left"] == 1


def test_a_part_of_the_bytes_in_a_syn_may_be_taken() -> None:
    """RFC 7413 section 4.2.2: the rest is sent again."""
    with Stack() as stack:
        client, server = two_ends()
        stack.send(client.syn(b"earlyXX", options=fast_open(b"c" * 8)))
        stack.send(server.segment(SYN | ACK, sequence=300, acknowledging=5))
        assert stack.bytes_of(0) == b"early"
        client.sent = 5
        stack.send(client.data(b"later"), server.ack())
        stack.finish()
        assert stack.stream(0) == [b"earlylater"]


def test_who_sends_on_before_the_answer_does_not_decide_about_the_bytes_in_its_syn() -> None:
    """Where the other side is there, it alone says so."""
    with Stack() as stack:
        client, server = two_ends()
        stack.send(client.syn(b"false"), server.segment(SYN, sequence=300))
        stack.send(client.segment(ACK | PSH, b"behind", at=5))
        assert stack.bytes_of(0) == b""
        stack.send(server.segment(SYN | ACK, sequence=300, acknowledgment=101))
        client.sent = 0
        stack.send(client.data(b"true"), server.ack(4))
        stack.finish()
        assert stack.stream(0) == [b"true"]


def test_a_repeated_syn_brings_no_bytes_once_it_was_answered() -> None:
    with Stack() as stack:
        client, server = two_ends()
        stack.send(client.syn(b"false"), server.syn(), client.syn(b"again"), server.ack())
        stack.send(client.data(b"true"), server.ack())
        stack.finish()
        assert stack.stream(0) == [b"true"]


@pytest.mark.parametrize("at", [5, 0])
def test_where_one_side_is_seen_the_bytes_in_its_syn_are_given_out_late(at: int) -> None:
    """Behind them, or with the same bytes once more: nobody is there to say which it was."""
    with Stack(gap_timeout=SECOND) as stack:
        client, _server = two_ends()
        stack.send(client.syn(b"early", options=fast_open(b"c" * 8)), client.segment(ACK, at=at))
        client.sent = at
        stack.send(client.data(b"earlylater"[at:]))
        assert stack.bytes_of(0) == b""
        stack.advance(2 * SECOND)
        stack.send(client.data(b" and more"))
        assert stack.stream(0) == [b"earlylater and more"]


@pytest.mark.parametrize(("acknowledging", "stream"), [(5, [b"early"]), (0, [])])
def test_a_sender_does_not_say_what_became_of_the_bytes_in_its_syn(
    acknowledging: int, stream: list[bytes]
) -> None:
    with Stack() as stack:
        client, server = two_ends()
        stack.send(client.syn(b"early"), client.segment(ACK, b"false", at=0))
        stack.send(server.segment(SYN | ACK, sequence=300, acknowledging=acknowledging))
        assert stack.stream(0) == stream


def test_bytes_in_a_syn_that_nobody_answers_are_given_up() -> None:
    with Stack() as stack:
        client, _server = two_ends()
        stack.send(client.syn(b"early"))
        stack.finish()
        assert stack.stream(0) == []
        assert stack.reasons["tcp.syn_bytes_left"] == 1
        assert stack.counters.gap_bytes == 0


def test_a_flood_of_syns_with_bytes_leaves_room_for_open_connections() -> None:
    with Stack(held_segments_max=8) as stack:
        client, _server = connected(stack)
        for port in range(2000, 2020):
            stack.send(two_ends(client=("10.9.9.9", port))[0].syn(b"flood"))
        assert stack.reasons["limit.held_segments"] == 16
        stack.send(client.data(b"there", at=6), client.data(b"hello ", at=0))
        assert stack.bytes_of(0, flow=1) == b"hello there"


def test_bytes_in_a_syn_ack_wait_too() -> None:
    with Stack() as stack:
        client, server = two_ends()
        stack.send(client.syn(), server.syn(b"banner"))
        assert stack.bytes_of(1) == b""
        server.sent = 6
        stack.send(client.ack())
        assert stack.bytes_of(1) == b"banner"


def test_connections_without_a_handshake_may_be_left_out() -> None:
    with Stack(needs_handshake=True) as stack:
        client, server = two_ends()
        stack.send(client.data(b"middle"), server.ack())
        assert stack.reasons["tcp.midstream"] == 2
        assert stack.counters.flows_tcp == 0
        connected(stack)
        assert stack.counters.flows_tcp == 1


def test_a_keep_alive_begins_no_stream() -> None:
    with Stack() as stack:
        client, server = two_ends()
        client.sent = 50
        stack.send(client.segment(ACK, b"\0", at=49), server.ack(), client.data(b"true"))
        assert anomalies(stack) == ["keep_alive"]
        assert stack.stream(0) == [b"true"]


def test_nor_does_one_without_a_byte() -> None:
    with Stack() as stack:
        client, server = two_ends()
        client.sent = 50
        stack.send(client.segment(ACK, at=49), server.ack(), client.data(b"true"))
        assert stack.stream(0) == [b"true"]


# --- bytes, windows, FIN ---


def test_keep_alives_are_told() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(
            client.data(b"abc"), server.ack(), client.segment(ACK, b"\0", at=2), server.ack()
        )
        stack.send(client.segment(ACK, at=2))
        assert anomalies(stack) == ["keep_alive"] * 2
        assert stack.bytes_of(0) == b"abc"


def test_a_closed_window_is_probed() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        server.window = 0
        stack.send(server.ack(), client.data(b"p"))
        assert anomalies(stack) == ["zero_window", "window_probe"]


def test_a_window_that_is_taken_back_is_told() -> None:
    with Stack() as stack:
        _client, server = connected(stack)
        server.window = 1000
        stack.send(server.ack())
        server.window = 500
        stack.send(server.ack())
        assert anomalies(stack) == ["window_shrunk"]


def test_urgent_data_is_told() -> None:
    with Stack() as stack:
        client, _server = connected(stack)
        stack.send(client.segment(ACK | URG, b"abc", at=0, urgent=2))
        assert anomalies(stack) == ["urgent_pointer"]


def test_a_second_fin_elsewhere_is_not_believed() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.data(b"abc"), client.fin(), client.segment(FIN | ACK, at=1))
        assert anomalies(stack) == ["fin_moved"]
        stack.send(server.ack(), server.fin(), client.ack())
        assert stack.events("tcp.end")[0].reason == "fin"


def test_bytes_in_place_of_a_fin_that_nobody_took_are_believed() -> None:
    with Stack() as stack:
        client, _server = connected(stack)
        stack.send(client.segment(FIN | ACK, at=0), client.data(b"goes on"))
        assert anomalies(stack) == ["data_after_fin"]
        assert stack.bytes_of(0) == b"goes on"
        assert stack.entries[-1].sides[0].state == "ESTABLISHED"


def test_bytes_behind_a_fin_that_was_taken_are_not() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.fin(), server.ack(), client.segment(ACK | PSH, b"XX", at=0))
        stack.send(client.segment(ACK | PSH, b"XX", at=1))
        assert anomalies(stack) == ["data_after_fin"] * 2
        assert stack.bytes_of(0) == b""


def test_bytes_behind_a_fin_leave_no_gap() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.data(b"all"), client.fin(), client.segment(ACK | PSH, b"XX", at=4))
        stack.send(server.ack(), server.fin(), client.ack())
        assert anomalies(stack) == ["data_after_fin"]
        assert stack.stream(0) == [b"all"]


def test_a_fin_far_past_the_window_is_judged_like_bytes() -> None:
    """RFC 9293 section 3.4: a segment's length counts its FIN."""
    with Stack(beyond_window=JUDGEMENTS["refuse"]) as stack:
        client, server = connected(stack)
        stack.send(client.data(b"all"), client.segment(FIN | ACK, at=100_000), server.ack())
        assert anomalies(stack) == ["beyond_window"]
        assert stack.entries[-1].sides[0].next == 104
        stack.finish()
        assert stack.stream(0) == [b"all"]


def test_what_fills_a_hole_is_no_retransmission() -> None:
    with Stack() as stack:
        client, _server = connected(stack)
        stack.send(*[client.segment(ACK, b"x" * 2, at=at) for at in (2, 6, 4, 0, 2)])
        assert anomalies(stack) == ["out_of_order"] * 4 + ["retransmission"]
        assert stack.entries[-1].sides[0].retransmissions == 1
        assert stack.bytes_of(0) == b"x" * 8


def test_nor_is_what_comes_before_a_fin() -> None:
    with Stack() as stack:
        client, _server = connected(stack)
        stack.send(client.segment(FIN | ACK, at=4), client.data(b"late"))
        assert anomalies(stack) == ["out_of_order"] * 2


def test_where_nobody_reads_the_stream_what_fills_a_hole_cannot_be_told() -> None:
    read = ("tcp.anomaly.out_of_order", "tcp.anomaly.retransmission")
    with Stack((Subscription(read),)) as stack:
        client, _server = connected(stack)
        stack.send(client.data(b"later", at=2), client.data(b"he", at=0))
        assert anomalies(stack) == ["out_of_order", "retransmission"]


def test_a_fin_behind_a_hole_is_believed_when_it_is_acknowledged() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.segment(FIN | ACK, at=3))
        assert stack.entries[-1].sides[0].state == "ESTABLISHED"
        stack.send(client.data(b"abc"), server.segment(ACK, acknowledging=4), server.data(b"x"))
        assert stack.entries[-1].sides[0].state == "FIN_WAIT_2"
        assert stack.entries[-1].sides[1].state == "CLOSE_WAIT"


# --- RST ---


@pytest.mark.parametrize("at", [-1, 1, 1000, 65535])
def test_a_rst_at_another_number_than_the_next_changes_nothing(at: int) -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.rst(at), server.data(b"goes on"), client.ack())
        stack.advance(5 * SECOND)
        stack.send(server.data(b" and on"))
        assert anomalies(stack) == ["rst_out_of_window"]
        assert stack.bytes_of(1) == b"goes on and on"
        assert stack.events("tcp.end") == []


def test_a_rst_ends_after_silence() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        other, _ = two_ends(client=("10.9.9.9", 9))
        stack.send(client.rst())
        assert stack.events("tcp.end") == []
        stack.advance(3 * SECOND)
        stack.send(other.syn())
        (end,) = stack.events("tcp.end")
        assert end.reason == "rst"
        assert [side.state for side in end.sides] == ["CLOSED", "CLOSED"]
        stack.send(server.ack(), server.fin())
        assert stack.counters.flows_tcp == 2


def test_a_rst_that_is_answered_with_one_ends_at_once() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(client.rst(), server.data(b"under way"), server.rst())
        assert stack.events("tcp.end")[0].reason == "rst"
        assert stack.bytes_of(1) == b"under way"


def test_a_rst_that_was_not_taken_is_ignored() -> None:
    """Forged with the right number; the client sends on, and the server acknowledges it."""
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(server.rst(), client.data(b"goes "), server.ack())
        assert anomalies(stack) == ["rst_ignored"]
        stack.advance(60 * SECOND)
        stack.send(client.data(b"on"))
        assert stack.bytes_of(0) == b"goes on"
        assert stack.events("tcp.end") == []


def test_who_goes_on_long_after_a_rst_is_heard() -> None:
    with Stack() as stack:
        client, server = connected(stack)
        stack.send(server.rst())
        stack.advance(60 * SECOND)
        stack.send(client.data(b"goes "), server.ack(), client.data(b"on"))
        assert [one.reason for one in stack.events("tcp.end")] == ["rst"]
        assert stack.bytes_of(0) == b"goes on"


def test_a_rst_may_say_why() -> None:
    with Stack() as stack:
        client, _server = connected(stack)
        stack.send(client.segment(RST, b"go away", at=0))
        assert anomalies(stack) == ["rst_with_data"]
        assert stack.bytes_of(0) == b""
