"""Flows in a few lines are what an orderly sender would have sent: tshark and the stack say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import microbox
from microbox.testing import Flow, Traffic, icmp, tcp, udp
from microbox.testing.packets import ACK, RST
from microbox.testing.traffic import SPACING, START

REQUEST = b"GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

WriteCapture = Callable[[Any], Path]
Tshark = Callable[..., list[tuple[str, ...]]]


def stream(path: Path, direction: int = 0) -> bytes:
    data = microbox.read(path, "tcp.data", fields=["direction", "data"])
    return b"".join(data[data.direction == direction].data)


def anomalies(path: Path) -> list[str]:
    return [event.name.rpartition("anomaly.")[2] for event in microbox.events(path, "tcp.anomaly")]


@pytest.mark.parametrize(
    "flow",
    [
        tcp("10.0.0.1:1234", "10.0.0.2:80").send(REQUEST).reply(RESPONSE).close(),
        tcp("[fd00::1]:1234", "[fd00::2]:80", vlan=5).send(REQUEST).reply(RESPONSE).close(),
        tcp(vlan=[5, 7]).send(REQUEST, mss=7).reply(RESPONSE, segments=[1, 20]).close(),
    ],
)
def test_tshark_finds_nothing_wrong(
    flow: Flow, write_capture: WriteCapture, tshark: Tshark
) -> None:
    path = write_capture(flow)
    names = ("http.request.uri", "http.response.code", "tcp.analysis.flags", "_ws.malformed")
    found = [set(filter(None, column)) for column in zip(*tshark(path, "tcp", *names), strict=True)]
    assert found == [{"/a"}, {"200"}, set(), set()]
    for field in ("ip.checksum.status", "tcp.checksum.status"):
        assert not tshark(path, f"{field} == 0", "frame.number")


def test_the_stack_follows_it(write_capture: WriteCapture) -> None:
    path = write_capture(tcp().send(REQUEST, mss=5).reply(RESPONSE, mss=9).close())
    assert (stream(path, 0), stream(path, 1)) == (REQUEST, RESPONSE)
    assert microbox.read(path, "tcp.end").reason.tolist() == ["fin"]
    assert not anomalies(path)


def test_segments_come_in_the_order_that_is_said(write_capture: WriteCapture) -> None:
    flow = tcp().send(b"abcdef", mss=2, order=[2, 0])
    assert [one.data[-2:] for one in flow.traffic[3:6]] == [b"ef", b"ab", b"cd"]
    path = write_capture(flow)
    assert (stream(path), set(anomalies(path))) == (b"abcdef", {"out_of_order"})


def test_a_segment_that_is_lost_is_a_gap(write_capture: WriteCapture) -> None:
    path = write_capture(tcp().send(b"abcdef", segments=[1, 3], lose=[1]).close())
    (gap,) = microbox.events(path, "tcp.gap")
    assert (gap.offset, gap.length) == (1, 3)
    assert stream(path) == b"aef"


def test_a_segment_that_is_lost_and_repeated_was_sent_again(write_capture: WriteCapture) -> None:
    path = write_capture(tcp().send(b"abcdef", mss=2, lose=[0], repeat=[0]))
    assert stream(path) == b"abcdef"


def test_a_duplicate_is_a_retransmission(write_capture: WriteCapture) -> None:
    path = write_capture(tcp().send(b"abcdef", mss=2, repeat=[1]))
    assert (stream(path), anomalies(path)) == (b"abcdef", ["retransmission"])


def test_bytes_sent_again_may_be_others(write_capture: WriteCapture) -> None:
    flow = tcp().send(b"hello", acknowledge=False).send_at(0, b"HELLO").reply_at(3, b"early")
    assert "overlap.inconsistent" in anomalies(write_capture(flow))


def test_it_ends_by_either_side_or_by_a_reset(write_capture: WriteCapture) -> None:
    def end(flow: Flow) -> tuple[str, int]:
        event = next(microbox.events(write_capture(flow), "tcp.end"))
        return event.reason.name, event.direction

    assert end(tcp().close())[0] == end(tcp().close(by="responder"))[0] == "fin"
    assert end(tcp().reset(by="responder"))[0] == "rst"
    half = tcp().finish().reply(b"more").finish(by="responder")
    assert end(half)[0] == "fin"
    assert stream(write_capture(half), 1) == b"more"


def test_any_segment_can_be_put_in(write_capture: WriteCapture) -> None:
    flow = tcp()
    flow.put(flow.segment(flow.responder, RST | ACK, sequence=12345))
    assert "rst_out_of_window" in " ".join(anomalies(write_capture(flow)))


def test_a_capture_may_begin_in_the_middle(write_capture: WriteCapture) -> None:
    path = write_capture(tcp(handshake=False).send(b"abc"))
    assert len(microbox.read(path, "packet")) == 2


def test_time_passes_as_it_is_told() -> None:
    flow = udp(start=START).send(b"a").send(b"b").wait(2.5).send(b"c")
    times = [one.time - START for one in flow]
    assert times == [0, SPACING, 2 * SPACING + 2_500_000_000]


def test_datagrams_and_their_fragments(write_capture: WriteCapture) -> None:
    for flow in (udp(), udp("[fd00::1]:1234", "[fd00::2]:53")):
        path = write_capture(flow.send(b"x" * 3000, fragment=1480).reply(b"y"))
        datagrams = microbox.read(path, "udp.datagram", fields=["direction", "data"])
        assert [(row["direction"], len(row["data"])) for row in datagrams] == [(0, 3000), (1, 1)]
        (error,) = microbox.events(write_capture(flow.send(b"z").unreachable()), "udp.icmp_error")
        assert (error.flow.source_port, error.flow.destination_port) == (1234, 53)


def test_echoes(write_capture: WriteCapture, tshark: Tshark) -> None:
    for flow in (icmp(identifier=7), icmp("fd00::1", "fd00::2", identifier=7)):
        path = write_capture(flow.send(b"ping").reply(b"ping").send(b"again"))
        messages = microbox.read(path, "icmp.message")
        assert messages.identifier.tolist() == [7, 7, 7]
        assert messages.sequence_number.tolist() == [1, 1, 2]
        assert not tshark(path, "icmp.checksum.status == 0", "frame.number")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: tcp("10.0.0.1", "10.0.0.2:80"),
            "'10.0.0.1' is no end of a flow; expected 10.0.0.1:80",
        ),
        (lambda: tcp("fd00::1:80", "[fd00::2]:80"), "no end of a flow"),
        (lambda: tcp("10.0.0.1:99999"), "no end of a flow"),
        (lambda: tcp("[fd00::1]:80"), "two versions of IP"),
        (lambda: icmp("a.example"), "no end of a flow; expected 10.0.0.1 or fd00::1"),
        (lambda: tcp().send(b"ab", mss=1, lose=[2]), "no segment 2 of 2, counted from 0"),
        (lambda: tcp().send(b"ab", mss=1, order=[1, 1]), "a segment comes once"),
        (lambda: tcp().send(b"ab", mss=0), "at least one byte"),
        (lambda: tcp().close(by="client"), "by is 'originator' or 'responder', not 'client'"),
        (lambda: Traffic.of(b"a", b"b").in_order(0, 0), "each of the numbers 0 to 1 once"),
    ],
)
def test_what_makes_no_sense_is_said(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        wrong()


def test_text_in_place_of_bytes_is_said() -> None:
    with pytest.raises(TypeError, match=r"carry bytes, such as b'GET /', not 'GET /a'"):
        tcp().send("GET /a")  # type: ignore[arg-type]
