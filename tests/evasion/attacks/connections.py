"""How connections open and close, and what pretends to."""

from __future__ import annotations

from stack_driver import ACK, FIN, PSH, RST, SYN, WRONG, Endpoint, client_and_server
from stack_driver.packets import TCP, Ethernet, IPv4, fast_open, timestamps

from attacks.attack import Right, Scene, attack

INTANG = "INTANG (Wang et al. 2017)"
SERVER_SIDE = "Geneva, server side (Bock et al. 2020)"
FRAGROUTER = "Song 1999, fragrouter"
REQUEST = b"GET /secret HTTP/1.0"
JUNK = b"GET /public HTTP/1.0"


def ask(scene: Scene, client: Endpoint, server: Endpoint) -> Right:
    """The request, which must come out whatever was before."""
    scene.send(client.data(REQUEST), server.ack())
    return Right(client=[REQUEST])


@attack(
    "A SYN with other numbers before the true one",
    source=f"{INTANG} TCB creation; Geneva, TCB desynchronization",
    answer="The SYN that is answered begins the connection.",
)
def false_syn_before(scene: Scene) -> Right:
    client, _ = client_and_server()
    scene.send(client.segment(SYN, sequence=0x7777))
    client, server = scene.open()
    return ask(scene, client, server)


@attack(
    "A SYN with a wrong checksum before the true one",
    source=f"{INTANG} TCB creation (bad checksum)",
    answer="RFC 9293 section 3.1: the receiver drops it.",
    checksums="drop",
)
def false_syn_with_a_wrong_checksum(scene: Scene) -> Right:
    client, _ = client_and_server()
    scene.send(client.segment(SYN, sequence=0x7777, checksum=WRONG))
    client, server = scene.open()
    return ask(scene, client, server)


@attack(
    "A SYN inside the connection, with other numbers",
    source=f"{INTANG} resynchronization; {FRAGROUTER} tcbc-1",
    answer="RFC 5961 section 4: a SYN does not resynchronize; the connection goes on.",
)
def syn_inside(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(SYN, sequence=0x7777))
    right = ask(scene, client, server)
    return Right(client=right.client, published={"tcp.anomaly.syn_in_established": 1})


@attack(
    "SYNs with other numbers between bytes",
    source=f"{FRAGROUTER} tcbc-2; Ptacek and Newsham 1998, section 5.4",
    answer="RFC 5961 section 4: a SYN does not resynchronize; the connection goes on.",
)
def syns_between_bytes(scene: Scene) -> Right:
    client, server = scene.open()
    for at in range(len(REQUEST)):
        scene.send(client.data(REQUEST[at : at + 1]))
        scene.send(client.segment(SYN, sequence=0x7777 + at))
    scene.send(server.ack())
    return Right(client=[REQUEST])


@attack(
    "A segment out of the window after a SYN, to desynchronize",
    source=f"{INTANG} resynchronization and desynchronization",
    answer="RFC 9293 section 3.10.7.4: neither is acceptable; the connection goes on.",
)
def desynchronization(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(SYN, sequence=0x7777))
    scene.send(client.segment(ACK | PSH, JUNK, sequence=0x40000000))
    return ask(scene, client, server)


@attack(
    "A SYN/ACK by the client before its SYN",
    source=f"{INTANG} TCB reversal",
    answer="The server's RST shows that it was nothing; the true handshake begins the connection.",
)
def reversal(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.segment(SYN | ACK, sequence=0x7777, acknowledgment=0x8888))
    scene.send(server.segment(RST, sequence=0x8888))
    client, server = scene.open()
    scene.send(client.data(REQUEST), server.ack())
    return Right(ends=["rst", "shutdown"], published={"tcp.established": 1})


@attack(
    "Simultaneous open",
    source=f"{SERVER_SIDE}, strategy 1",
    answer="RFC 9293 section 3.5, figure 8: both sides are open when both SYNs are acknowledged.",
)
def simultaneous_open(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.segment(SYN, sequence=100), server.segment(SYN, sequence=300))
    scene.send(client.segment(SYN | ACK, sequence=100), server.segment(ACK, at=0))
    right = ask(scene, client, server)
    return Right(client=right.client, published={"tcp.established": 1})


@attack(
    "Simultaneous open with bytes in the server's SYN",
    source=f"{SERVER_SIDE}, strategy 2",
    answer="RFC 9293 section 3.10.7.3: bytes in a SYN that nobody acknowledged are sent again.",
)
def simultaneous_open_with_data(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.segment(SYN, sequence=100), server.segment(SYN, JUNK, sequence=300))
    scene.send(client.segment(SYN | ACK, sequence=100), server.segment(ACK, at=0))
    return ask(scene, client, server)


@attack(
    "A SYN/ACK that acknowledges something else before the true one",
    source=f"{SERVER_SIDE}, strategies 3 to 5",
    answer="RFC 9293 section 3.10.7.3: the client resets that one and waits for the true one.",
)
def wrong_acknowledgment(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.syn())
    scene.send(server.segment(SYN | ACK, sequence=0x5555, acknowledgment=0x7777))
    scene.send(client.segment(RST, sequence=0x7777))
    scene.send(server.syn(), client.ack())
    return ask(scene, client, server)


@attack(
    "A RST by the server before its SYN/ACK",
    source=f"{SERVER_SIDE}, strategies 6 and 7",
    answer="RFC 9293 section 3.10.7.3: a RST that acknowledges no SYN is not believed.",
)
def rst_before_the_answer(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.syn(), server.segment(RST, sequence=0))
    scene.send(server.syn(), client.ack())
    return ask(scene, client, server)


@attack(
    "Several SYN/ACKs, the later ones with other numbers",
    source="RFC 9293 section 3.10.7.4; Geneva, stutter",
    answer="The SYN/ACK that the client acknowledges counts.",
)
def several_answers(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.syn(), server.syn(), client.ack())
    scene.send(server.segment(SYN | ACK, sequence=0x5555, acknowledgment=101))
    scene.send(server.segment(SYN | ACK, sequence=300, acknowledgment=101))
    scene.send(client.ack())
    right = ask(scene, client, server)
    return Right(client=right.client, published={"tcp.established": 1})


@attack(
    "Split handshake: the server answers the SYN with a SYN of its own",
    source="Beardsley and Qian 2010, The TCP Split Handshake",
    answer="RFC 9293 section 3.5: a simultaneous open; who sent the first SYN stays the client.",
)
def split_handshake(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.segment(SYN, sequence=100), server.segment(SYN, sequence=300))
    scene.send(client.segment(SYN | ACK, sequence=100), server.segment(ACK, at=0))
    scene.send(server.data(JUNK), client.ack())
    right = ask(scene, client, server)
    return Right(client=right.client, server=[JUNK])


@attack(
    "The server sends before the handshake is over",
    source="CVE-2018-6794 (Suricata)",
    answer="The client takes bytes that come with or behind the SYN/ACK.",
)
def early_answer(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.syn(), server.syn(), server.data(JUNK), client.ack())
    right = ask(scene, client, server)
    return Right(client=right.client, server=[JUNK])


@attack(
    "TCP Fast Open: bytes in a SYN that the server acknowledges",
    source="RFC 7413",
    answer="RFC 7413 section 4.2: they are the first bytes of the stream.",
)
def fast_open_data(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.syn(REQUEST[:8], fast_open(b"cookie00")))
    client.sent = 8
    scene.send(server.syn(), client.ack())
    scene.send(client.data(REQUEST[8:]), server.ack())
    return Right(client=[REQUEST])


@attack(
    "Bytes in a SYN that the server does not acknowledge",
    source="Ptacek and Newsham 1998, section 5.3",
    answer="RFC 9293 section 3.10.7.3: they were not taken; what is sent in their place is.",
)
def bytes_in_a_syn(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.syn(JUNK), server.syn(), client.ack())
    right = ask(scene, client, server)
    return Right(client=right.client, counted={"tcp.syn_bytes_left": 1})


@attack(
    "TCP Fast Open: other bytes in the place of the SYN's before the server answers",
    source="RFC 7413",
    answer="RFC 7413 section 4.2: what the server acknowledges was taken, and no other.",
)
def bytes_in_place_of_a_syns(scene: Scene) -> Right:
    client, server = client_and_server()
    scene.send(client.syn(REQUEST, fast_open(b"cookie00")))
    client.sent = len(REQUEST)
    scene.send(client.segment(ACK | PSH, JUNK, at=0))
    scene.send(server.syn(), client.ack())
    return Right(client=[REQUEST])


@attack(
    "No handshake at all",
    source=f"{FRAGROUTER} tcbc-3",
    answer="The connection is picked up in its middle (configuration: midstream).",
)
def no_handshake(scene: Scene) -> Right:
    client, server = client_and_server()
    return ask(scene, client, server)


@attack(
    "A connection that was reset, and one with the same ports right behind it",
    source=f"{FRAGROUTER} tcbt-1",
    answer="RFC 9293 section 3.10.7.1: the second is a connection of its own.",
)
def reset_and_again(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(JUNK), server.ack(), client.rst())
    client, server = scene.open(first=(0x5000, 0x9000))
    scene.send(client.data(REQUEST), server.ack())
    return Right(client=[JUNK + REQUEST], published={"tcp.start": 2})


@attack(
    "A connection that was closed, and one with the same ports right behind it",
    source="Ptacek and Newsham 1998, section 5.4; RFC 6191",
    answer="RFC 9293 section 3.6.1: a new SYN may follow TIME-WAIT; it begins another connection.",
)
def closed_and_again(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(JUNK), server.ack(), client.fin(), server.fin(), client.ack())
    client, server = scene.open(first=(0x50000, 0x90000))
    scene.send(client.data(REQUEST), server.ack())
    return Right(client=[JUNK + REQUEST], published={"tcp.start": 2}, ends=["fin", "shutdown"])


@attack(
    "One side says FIN, the other goes on sending",
    source="RFC 9293 section 3.6, half-close",
    answer="Each side is open until its own FIN.",
)
def half_close(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST), client.fin(), server.ack())
    scene.send(server.data(JUNK), client.ack(), server.data(JUNK), client.ack())
    return Right(client=[REQUEST], server=[JUNK * 2], ends=["shutdown"])


@attack(
    "FIN by both sides at once",
    source="RFC 9293 section 3.6, figure 13",
    answer="Both are closing; the connection ends with fin.",
)
def simultaneous_close(scene: Scene) -> Right:
    client, server = scene.open()
    fins = client.fin(), server.fin()
    scene.send(*fins, client.ack(), server.ack())
    return Right(ends=["fin"])


@attack(
    "A FIN with a wrong checksum",
    source=f"{FRAGROUTER} tcp-1; {INTANG} TCB teardown (FIN)",
    answer="RFC 9293 section 3.1: the receiver drops it, and the connection goes on.",
    checksums="drop",
)
def false_fin(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(FIN | ACK, at=0, checksum=WRONG))
    return ask(scene, client, server)


@attack(
    "A FIN far beyond the window",
    source=f"{INTANG} TCB teardown (FIN)",
    answer="RFC 9293 section 3.10.7.4: it is not acceptable, and the connection goes on.",
    beyond_window="refuse",
)
def fin_beyond_the_window(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(FIN | ACK, at=1_000_000), server.segment(FIN | ACK, at=1_000_000))
    right = ask(scene, client, server)
    return Right(client=right.client, ends=["shutdown"])


@attack(
    "A RST/ACK and a FIN/ACK with old timestamps right after the SYN",
    source="CVE-2019-18625 (Suricata)",
    answer="RFC 7323 section 5: the client drops what repeats none of its timestamps.",
)
def teardown_with_old_timestamps(scene: Scene) -> Right:
    client, server = scene.open(client=timestamps(5000), server=timestamps(9000, 5000))
    client.options, server.options = timestamps(5010, 9000), timestamps(9010, 5010)
    scene.send(server.ack())
    scene.send(server.segment(FIN | ACK, at=0, options=timestamps(1, 1)))
    scene.send(server.segment(RST | ACK, at=0, options=timestamps(1, 1)))
    right = ask(scene, client, server)
    return Right(client=right.client, ends=["shutdown"])


@attack(
    "Land: a SYN from a host to itself",
    source="CVE-1999-0016",
    answer="It is a packet as others; nothing answers itself without end.",
)
def land(scene: Scene) -> Right:
    packet = IPv4("10.0.0.1", "10.0.0.1") / TCP(80, 80, SYN, 100)
    scene.send(*[Ethernet() / packet] * 3)
    scene.send(Ethernet() / IPv4("10.0.0.1", "10.0.0.1") / TCP(80, 80, SYN | ACK, 100, 101))
    return Right(published={"tcp.start": 1})


@attack(
    "Flags that exclude each other",
    source="Geneva, invalid flags; nmap, Xmas and null scans",
    answer="No receiver takes SYN with FIN or RST, or no flag: malformed, of no flow.",
)
def invalid_flags(scene: Scene) -> Right:
    client, server = scene.open()
    for flags in (0, SYN | FIN, SYN | RST, FIN | SYN | RST | PSH | ACK | 0x20):
        scene.send(client.segment(flags, JUNK, at=0))
    right = ask(scene, client, server)
    return Right(client=right.client, counted={"tcp.flags": 4})
