"""TCP segments: in any order, twice, overlapping, with bytes that the receiver does not take."""

from __future__ import annotations

from stack_driver import ACK, FIN, PSH, URG, WRONG, Endpoint, Hosts
from stack_driver.packets import md5_signature, timestamps

from attacks.attack import Right, Scene, attack

FRAGROUTER = "Song 1999, fragrouter"
PTACEK = "Ptacek and Newsham 1998"
INTANG = "INTANG (Wang et al. 2017)"
GENEVA = "Geneva (Bock et al. 2019)"
REQUEST = b"GET /secret HTTP/1.0"
JUNK = b"GET /public HTTP/1.0"
IN_ORDER = "RFC 9293 section 3.10.7.4: bytes are taken by their numbers, in whatever order."
FIRST = "The bytes were given to the program: no later copy changes them."


def bytes_of(client: Endpoint, data: bytes = REQUEST) -> list[bytes]:
    """A segment for each byte."""
    return [client.data(data[at : at + 1]) for at in range(len(data))]


@attack("Bytes one by one", source=f"{FRAGROUTER} tcp-1; {GENEVA} segmentation", answer=IN_ORDER)
def one_by_one(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(*bytes_of(client), server.ack())
    return Right(client=[REQUEST])


@attack("Bytes one by one, one of them twice", source=f"{FRAGROUTER} tcp-3", answer=IN_ORDER)
def one_twice(scene: Scene) -> Right:
    client, server = scene.open()
    segments = bytes_of(client)
    scene.send(*segments[:5], segments[2], *segments[5:], server.ack())
    return Right(client=[REQUEST], published={"tcp.anomaly.retransmission": 1})


@attack("Bytes one by one, one of them out of order", source=f"{FRAGROUTER} tcp-8", answer=IN_ORDER)
def one_out_of_order(scene: Scene) -> Right:
    client, server = scene.open()
    segments = bytes_of(client)
    segments[4], segments[5] = segments[5], segments[4]
    scene.send(*segments, server.ack())
    return Right(client=[REQUEST], published={"tcp.anomaly.out_of_order": None})


@attack(
    "Bytes one by one, backwards",
    source=f"{FRAGROUTER} tcp-9; {GENEVA} segmentation",
    answer=IN_ORDER,
)
def backwards(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(*reversed(bytes_of(client)), server.ack())
    return Right(client=[REQUEST], published={"tcp.anomaly.out_of_order": None})


@attack(
    "Another copy of bytes that were given out",
    source=f"{FRAGROUTER} tcp-4; {PTACEK}, section 5.3",
    answer=FIRST,
)
def another_copy(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST), client.data(JUNK, at=0), server.ack())
    return Right(client=[REQUEST], published={"tcp.anomaly.retransmission": None})


@attack(
    "Each segment overlaps the one before, with other bytes",
    source=f"{FRAGROUTER} tcp-5; {GENEVA} segmentation with overlap",
    answer=FIRST,
)
def overlapping_forward(scene: Scene) -> Right:
    client, server = scene.open()
    for at in range(0, len(REQUEST), 4):
        false = JUNK[max(at - 4, 0) : at].swapcase()
        scene.send(client.data(false + REQUEST[at : at + 4], at=max(at - 4, 0)))
    scene.send(server.ack())
    return Right(client=[REQUEST], published={"tcp.anomaly.overlap": None})


@attack(
    "Segments of no bytes between those with one",
    source=f"{FRAGROUTER} tcp-7",
    answer="RFC 9293: a segment of no bytes adds none.",
)
def null_segments(scene: Scene) -> Right:
    client, server = scene.open()
    for one in bytes_of(client):
        scene.send(one, client.ack())
    scene.send(server.ack())
    return Right(client=[REQUEST])


def held_overlap(scene: Scene) -> None:
    """A hole, then two copies of what lies behind it, then the hole's bytes."""
    client, server = scene.open()
    scene.send(client.data(JUNK[5:], at=5), client.data(REQUEST[5:], at=5))
    scene.send(client.data(REQUEST[:5], at=0), server.ack())


@attack(
    "Two copies behind a hole, where the host keeps the first",
    source=f"{PTACEK}, section 5.3; {INTANG} data reassembly",
    answer="The policy `first` of the host keeps what came first.",
    hosts=(Hosts(segments="first"),),
)
def held_for_a_host_that_keeps_the_first(scene: Scene) -> Right:
    held_overlap(scene)
    return Right(client=[REQUEST[:5] + JUNK[5:]])


@attack(
    "Two copies behind a hole, where the host keeps the last",
    source=f"{PTACEK}, section 5.3; {INTANG} data reassembly",
    answer="The policy `last` of the host keeps what came last.",
    hosts=(Hosts(segments="last"),),
)
def held_for_a_host_that_keeps_the_last(scene: Scene) -> Right:
    held_overlap(scene)
    return Right(client=[REQUEST])


@attack(
    "Two copies behind a hole that differ",
    source="Shankar and Paxson 2003, Active Mapping",
    answer="Whichever is kept, that they differ is told.",
)
def held_and_inconsistent(scene: Scene) -> Right:
    held_overlap(scene)
    return Right(published={"tcp.anomaly.overlap.inconsistent": 1})


def after_false_data(scene: Scene, false: bytes, client: Endpoint, server: Endpoint) -> Right:
    """What the receiver does not take, then the true bytes in its place."""
    scene.send(false, client.data(REQUEST), server.ack())
    return Right(client=[REQUEST])


@attack(
    "Data with a wrong TCP checksum before the true data",
    source=f"{FRAGROUTER} ins-2; {INTANG} in-order data overlap",
    answer="RFC 9293 section 3.1: the receiver drops it.",
    checksums="drop",
)
def data_with_a_wrong_checksum(scene: Scene) -> Right:
    client, server = scene.open()
    false = client.segment(ACK | PSH, JUNK, at=0, checksum=WRONG)
    right = after_false_data(scene, false, client, server)
    return Right(client=right.client, counted={"tcp.bad_checksum": None})


@attack(
    "Data without ACK before the true data",
    source=f"{FRAGROUTER} ins-3; {PTACEK}, section 5.1",
    answer="RFC 9293 section 3.10.7.4: without ACK the receiver drops it.",
)
def data_without_ack(scene: Scene) -> Right:
    client, server = scene.open()
    return after_false_data(scene, client.segment(PSH, JUNK, at=0), client, server)


@attack(
    "Data without any flag before the true data",
    source=f"{INTANG} in-order data overlap; Geneva, null flags",
    answer="RFC 9293 section 3.10.7.4: without ACK the receiver drops it.",
)
def data_without_flags(scene: Scene) -> Right:
    client, server = scene.open()
    right = after_false_data(scene, client.segment(0, JUNK, at=0), client, server)
    return Right(client=right.client, counted={"tcp.flags": 1})


@attack(
    "Data that acknowledges what was never sent, before the true data",
    source=f"{INTANG} in-order data overlap (bad ACK number)",
    answer="RFC 5961 section 5: a receiver takes no data with an acknowledgement out of range.",
    unsent_acknowledgment="refuse",
)
def data_with_a_wrong_acknowledgment(scene: Scene) -> Right:
    client, server = scene.open()
    false = client.segment(ACK | PSH, JUNK, at=0, acknowledgment=0x40000000)
    return after_false_data(scene, false, client, server)


@attack(
    "Data with an old timestamp before the true data",
    source=f"{INTANG} in-order data overlap (PAWS); {PTACEK}, section 5.1",
    answer="RFC 7323 section 5: the receiver drops it.",
)
def data_with_an_old_timestamp(scene: Scene) -> Right:
    client, server = scene.open(client=timestamps(5000), server=timestamps(9000, 5000))
    client.options, server.options = timestamps(5010, 9000), timestamps(9010, 5010)
    scene.send(client.ack())
    false = client.segment(ACK | PSH, JUNK, at=0, options=timestamps(1, 9000))
    return after_false_data(scene, false, client, server)


@attack(
    "Data with an MD5 signature that nobody agreed on, before the true data",
    source=f"{INTANG} in-order data overlap (unsolicited MD5)",
    answer="RFC 2385: a receiver without a key drops it.",
)
def data_with_a_signature(scene: Scene) -> Right:
    client, server = scene.open()
    false = client.segment(ACK | PSH, JUNK, at=0, options=md5_signature())
    return after_false_data(scene, false, client, server)


@attack(
    "Data whose TTL is too low to arrive, before the true data",
    source=f"{PTACEK}, section 5.1; {INTANG} in-order data overlap (TTL)",
    answer="RFC 1812: it does not arrive. `hops` of the host says so.",
    hosts=(Hosts(hops=5),),
    low_ttl="refuse",
)
def data_that_does_not_arrive(scene: Scene) -> Right:
    client, server = scene.open()
    false = client.segment(ACK | PSH, JUNK, at=0, ttl=3)
    return after_false_data(scene, false, client, server)


@attack(
    "Data far beyond the window",
    source=f"{PTACEK}, section 5.1",
    answer="RFC 9293 section 3.10.7.4: it is not acceptable; nothing waits for the bytes before.",
    beyond_window="refuse",
)
def data_beyond_the_window(scene: Scene) -> Right:
    client, server = scene.open()
    false = client.segment(ACK | PSH, JUNK, at=1_000_000)
    scene.send(false, client.data(REQUEST), server.ack())
    return Right(client=[REQUEST], published={"tcp.anomaly.beyond_window": 1})


@attack(
    "A keep-alive with a byte that was acknowledged",
    source="RFC 1122 section 4.2.3.6",
    answer="Its byte lies before the window and is none of the stream.",
)
def keep_alive(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST[:4]), server.ack())
    scene.send(client.segment(ACK, b"?", at=3), server.ack())
    scene.send(client.data(REQUEST[4:]), server.ack())
    return Right(client=[REQUEST])


@attack(
    "Numbers wrap in the middle of the request, out of order",
    source=f"{PTACEK}, section 5.3",
    answer="RFC 9293 section 3.4: numbers are modulo 2**32.",
)
def wrap(scene: Scene) -> Right:
    client, server = scene.open(first=(0xFFFFFFFA, 300))
    scene.send(client.data(REQUEST[8:], at=8), client.data(REQUEST[:8], at=0), server.ack())
    return Right(client=[REQUEST])


@attack(
    "Data behind a FIN",
    source=f"{PTACEK}, section 5.4",
    answer="RFC 9293 section 3.10.7.4: after the FIN nothing of the sender is taken.",
)
def data_behind_a_fin(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST), client.fin())
    scene.send(client.segment(ACK | PSH, JUNK, at=client.sent + 1), server.ack())
    return Right(client=[REQUEST])


@attack(
    "A FIN beyond the window",
    source=f"{PTACEK}, section 5.1",
    answer="RFC 9293 section 3.4: it counts in the segment's length, which is not acceptable.",
    beyond_window="refuse",
)
def fin_beyond_the_window(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(FIN | ACK, at=100_000), client.data(REQUEST), server.ack())
    return Right(client=[REQUEST], published={"tcp.anomaly.beyond_window": 1})


@attack(
    "A FIN that comes before the bytes before it",
    source=f"{PTACEK}, section 5.4; Geneva, FIN first",
    answer="RFC 9293: a FIN counts when all before it is there.",
)
def fin_before_its_bytes(scene: Scene) -> Right:
    client, server = scene.open()
    data = client.data(REQUEST)
    scene.send(client.fin(), data, server.ack())
    return Right(client=[REQUEST])


@attack(
    "A FIN without ACK in the place of the data",
    source="CVE-2019-18792 (Suricata)",
    answer="RFC 9293 section 3.10.7.4: without ACK the receiver drops it.",
)
def fin_without_ack(scene: Scene) -> Right:
    client, server = scene.open()
    return after_false_data(scene, client.segment(FIN, at=0), client, server)


@attack(
    "Urgent data amid the stream",
    source=f"{PTACEK}, section 5.3; CVE-1999-0153 (WinNuke)",
    answer="RFC 6093: urgent bytes are bytes of the stream; the policy `inline` leaves them there.",
)
def urgent_data(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST[:7]))
    scene.send(client.segment(ACK | URG, REQUEST[7:8], at=7, urgent=1))
    client.sent = 8
    scene.send(client.data(REQUEST[8:]), server.ack())
    return Right(client=[REQUEST], published={"tcp.anomaly.urgent_pointer": 1})


@attack(
    "An urgent pointer past the segment, and one of 0",
    source="CVE-1999-0153 (WinNuke); RFC 6093 section 3",
    answer="RFC 6093: a pointer gives no bytes that are not there.",
)
def urgent_pointer_past_the_end(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(ACK | URG, REQUEST[:4], at=0, urgent=65535))
    scene.send(client.segment(ACK | URG, REQUEST[4:], at=4, urgent=0))
    client.sent = len(REQUEST)
    scene.send(server.ack())
    return Right(client=[REQUEST])


@attack(
    "An acknowledgement of bytes that were never sent",
    source="Savage et al. 1999, optimistic acknowledgement",
    answer="RFC 5961 section 5: it is not believed, so no byte that comes later is lost.",
)
def optimistic_acknowledgment(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST[:8]))
    scene.send(*[server.segment(ACK, acknowledging=5000)] * 4)
    scene.send(client.data(REQUEST[8:]), server.ack())
    return Right(client=[REQUEST], never=["tcp.gap"])


@attack(
    "A window so small that the request comes in pieces",
    source="Geneva, server side (Bock et al. 2020), strategy 8",
    answer=IN_ORDER,
)
def small_window(scene: Scene) -> Right:
    client, server = scene.open()
    server.window = 10
    scene.send(server.ack(), client.data(REQUEST[:10]), server.ack())
    scene.send(client.data(REQUEST[10:]), server.ack())
    return Right(client=[REQUEST])


@attack(
    "A window of 0, probed with one byte at a time",
    source="RFC 9293 section 3.8.6.1; CVE-2008-4609 (sockstress)",
    answer="A probe's byte is of the stream when it is acknowledged; the stall is told.",
)
def zero_window(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST[:8]), server.segment(ACK, window=0))
    scene.send(client.data(REQUEST[8:9]), server.segment(ACK, acknowledging=8, window=0))
    scene.send(client.data(REQUEST[8:], at=8), server.ack())
    return Right(client=[REQUEST], published={"tcp.anomaly.zero_window": None})


@attack(
    "Bytes that the watcher missed and the receiver acknowledges",
    source="Paxson 1999, Bro, section 5",
    answer="A gap of just those bytes; then the stream goes on.",
)
def missed_bytes(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST[:4]))
    client.data(REQUEST[4:8])
    scene.send(client.data(REQUEST[8:]), server.ack(), server.ack(), server.ack(), server.ack())
    return Right(client=[REQUEST[:4], 4, REQUEST[8:]], published={"tcp.gap": 1})
