"""The driver that other tests of the stack are written with: what goes in arrives as meant, and
what is published comes out as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stack_driver import (
    SECOND,
    START,
    SYN,
    WRONG,
    Frame,
    Stack,
    Subscription,
    Timer,
    cases,
    client_and_server,
    run,
)
from stack_driver.packets import (
    GENEVE,
    GRE,
    HOP_BY_HOP,
    ICMP,
    MPLS,
    ROUTING,
    TCP,
    UDP,
    VLAN,
    VXLAN,
    Ethernet,
    Extension,
    ICMPv6,
    IPv4,
    IPv6,
    PPPoE,
    datagram,
    maximum_segment_size,
    window_scale,
)


def connection(*data: bytes) -> list[bytes]:
    client, server = client_and_server()
    frames = [client.syn(), server.syn(), client.ack()]
    frames += [client.data(one) for one in data]
    return [*frames, server.ack(), client.fin(), server.fin(), client.ack()]


def test_a_connection_is_tracked_from_start_to_end() -> None:
    stack = run(connection(b"GET /", b" HTTP/1.1"))
    assert stack.bytes_of(0) == b"GET / HTTP/1.1"
    (start,) = stack.events("tcp.start")
    assert (start.source, start.source_port) == ("10.0.0.1", 1000)
    assert (start.destination, start.destination_port) == ("10.0.0.2", 80)
    (end,) = stack.events("tcp.end")
    assert (end.reason, end.started, end.flow) == ("fin", START, start.flow)
    assert stack.counters.flows_tcp == 1
    assert stack.reasons["fin"] == 1
    assert stack.published["flow.tcp.data"] == 2


def test_bytes_come_out_in_order() -> None:
    client, server = client_and_server()
    with Stack() as stack:
        stack.send(client.syn(), server.syn(), client.ack())
        stack.send(client.data(b"world", at=6), client.data(b"hello ", at=0))
        assert stack.bytes_of(0) == b"hello world"
        assert [one.packet for one in stack.events("out_of_order")] == [4, 5]
        assert stack.counters.stream_bytes == 11


def test_both_copies_of_bytes_that_differ() -> None:
    client, server = client_and_server()
    frames = [client.syn(), server.syn(), client.ack()]
    stack = run([*frames, client.data(b"first"), client.data(b"other", at=0)])
    (inconsistent,) = stack.events("overlap.inconsistent")
    assert (inconsistent.previous, inconsistent.data) == (b"first", b"other")


def test_a_gap_is_a_number_among_bytes() -> None:
    client, server = client_and_server()
    lost = client.data(b"lost")
    frames = [client.syn(), server.syn(), client.ack(), client.data(b"kept"), server.ack()]
    assert lost not in frames
    assert run(frames).stream(0) == [4, b"kept"]


def test_snapshots_name_the_states() -> None:
    stack = run(connection(b"x"))
    (established,) = stack.events("tcp.established")
    assert [side.state for side in established.sides] == ["ESTABLISHED", "ESTABLISHED"]


def test_checksums_are_right_unless_they_are_to_be_wrong() -> None:
    client, _ = client_and_server()
    frames = connection(b"odd")
    six = client_and_server(("fd00::1", 1000), ("fd00::2", 80))
    frames += [six[0].syn(), six[1].syn(), six[0].ack(), six[0].data(b"data")]
    frames += [bytes(Ethernet() / IPv4() / TCP(options=window_scale(7)) / b"x")]
    stack = run(frames, checksums="event")
    assert "tcp.bad_checksum" not in stack.reasons
    assert "ipv4.checksum" not in stack.reasons
    wrong = [client.segment(SYN, sequence=1, checksum=WRONG)]
    wrong += [bytes(Ethernet() / IPv4(checksum=WRONG) / TCP())]
    stack = run(wrong, checksums="event")
    assert [one.packet for one in stack.events("bad_checksum")] == [1]
    assert [one.packet for one in stack.events("packet") if one.reason == "ipv4.checksum"] == [2]


INNER = IPv4("10.1.0.1", "10.1.0.2") / TCP(7, 8, SYN)
TUNNELS = {
    "plain": Ethernet() / INNER,
    "vlan": Ethernet() / VLAN(5) / INNER,
    "qinq": Ethernet() / VLAN(5, 0x88A8) / VLAN(6) / INNER,
    "mpls": Ethernet() / MPLS(16) / MPLS(17) / INNER,
    "pppoe": Ethernet() / PPPoE() / INNER,
    "ip in ip": Ethernet() / IPv4() / INNER,
    "ip in ipv6": Ethernet() / IPv6() / INNER,
    "gre": Ethernet() / IPv4() / GRE() / INNER,
    "gre with a key and ethernet": Ethernet() / IPv4() / GRE(key=9) / Ethernet() / INNER,
    "vxlan": Ethernet() / IPv4() / UDP(1, 4789) / VXLAN() / Ethernet() / INNER,
    "geneve": Ethernet() / IPv6() / UDP(1, 6081) / GENEVE() / INNER,
}


@pytest.mark.parametrize("packet", TUNNELS.values(), ids=TUNNELS.keys())
def test_the_innermost_packet_is_the_flows(packet: Any) -> None:
    (start,) = run([packet]).events("tcp.start")
    assert (start.source, start.source_port) == ("10.1.0.1", 7)


def test_ipv6_extension_headers_chain() -> None:
    extensions = Extension(HOP_BY_HOP) / Extension(ROUTING, bytes(6)) / Extension(body=b"\1\0" * 8)
    (start,) = run([Ethernet() / IPv6() / extensions / TCP(flags=SYN)]).events("tcp.start")
    assert start.source == "fd00::1"


def test_udp_and_icmp() -> None:
    stack = run(
        [
            Ethernet() / IPv4() / UDP() / b"question",
            Ethernet() / IPv4() / ICMP() / b"ping",
            Ethernet() / IPv6() / ICMPv6(),
        ]
    )
    assert [one.data for one in stack.events("udp.datagram")] == [b"question"]
    assert [one.message_type for one in stack.events("icmp.message")] == [8, 128]


def test_a_datagram_is_cut_at_multiples_of_eight() -> None:
    whole = datagram(Ethernet() / IPv4() / UDP() / bytes(range(40)))
    frames = whole.cut(16)
    assert len(frames) == 3
    assert b"".join(frame[34:] for frame in frames) == whole.payload
    assert whole.fragment(8, 24) == whole.fragment_of(8, whole.payload[8:24], more=True)


def test_fragments_of_ipv6_have_a_header_of_their_own() -> None:
    first, last = datagram(Ethernet() / IPv6() / UDP() / bytes(8)).cut(8)
    assert first[54:62] == bytes([17, 0, 0, 1, 0, 0, 0, 1])
    assert last[54:62] == bytes([17, 0, 0, 8, 0, 0, 0, 1])


def test_options_are_padded() -> None:
    frame = bytes(Ethernet() / IPv4() / TCP(options=maximum_segment_size(9) + b"\1"))
    assert len(frame) == 14 + 20 + 28


def test_subscribers_get_what_their_filters_pass() -> None:
    wanted = [
        Subscription(("tcp.start",), "tcp dst port 80", bit=3),
        Subscription(("udp",), bit=4),
    ]
    stack = run([*connection(), Ethernet() / IPv4() / UDP()], wanted)
    assert {one.type: one.mask for one in stack.entries} == {
        "flow.tcp.start": 1 << 3,
        "flow.udp.start": 1 << 4,
        "flow.udp.datagram": 1 << 4,
        "flow.udp.end": 1 << 4,
    }


def test_a_filter_that_makes_no_sense_is_named() -> None:
    with pytest.raises(ValueError, match="tcp prot"):
        Stack([Subscription(filter="tcp prot 80")])


def test_timers_and_times() -> None:
    frames = [Frame(one, START + n * SECOND) for n, one in enumerate(connection())]
    stack = run(frames, timers=[Timer(2 * SECOND)])
    assert {one.is_apart for one in stack.events("timer")} == {True}
    (end,) = stack.events("tcp.end")
    assert end.time == START + 6 * SECOND


def test_what_a_snap_length_cut_is_missing() -> None:
    client, _ = client_and_server()
    whole = client.data(b"whole")
    (packet, *_) = run([Frame(whole[:-2], wire_length=len(whole))]).events("packet")
    assert packet.wire_length == len(whole)
    assert (packet.reason, packet.data) == ("payload.cut", b"who")


def test_a_flood_is_one_array() -> None:
    frame = bytes(Ethernet() / IPv4() / TCP(flags=SYN))
    frames = np.tile(np.frombuffer(frame, "u1"), (1000, 1))
    frames[:, 34:36] = np.arange(1, 1001, dtype=">u2").view("u1").reshape(-1, 2)
    with Stack([Subscription(("tcp.end",))], flows_max=100) as stack:
        stack.flood(frames)
        assert stack.counters.flows_tcp == 1000
        assert stack.reasons["evicted"] == 900


def test_cases_are_few_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROBOX_CASES", raising=False)
    assert cases(2000) == 2000
    monkeypatch.setenv("MICROBOX_CASES", "100000")
    assert cases(2000) == 100_000


@pytest.mark.parametrize("batch", [1, 2, 3, 256])
def test_batches_change_nothing(batch: int) -> None:
    frames = connection(b"a", b"b") * 3
    expected = [one.key() for one in run(frames).entries]
    assert [one.key() for one in run(frames, batch=batch).entries] == expected


def test_entries_stay_when_the_stack_is_gone() -> None:
    with Stack() as stack:
        stack.send(*connection(b"kept"))
        before = len(stack.entries)
        stack.finish()
    assert len(stack.entries) > before
    assert stack.bytes_of(0) == b"kept"
    assert stack.counters.packets == 8
