"""`event.edit(...)`, `event.push_vlan(...)`, `event.pop_vlan()`: one packet goes on with other
headers, bytes and tags; later NFs and the output see it, earlier ones do not."""

from __future__ import annotations

import dataclasses
import random
import socket
import struct
from typing import Any, ClassVar

import pytest

from microbox import DROP, RESET, Batch, Event, NetworkFunction, on, on_batch
from microbox.api import in_process
from microbox.nf.errors import DefinitionError
from microbox.nf.manifest import edits_of, edits_packets, is_inline, rewrites_flows
from microbox.testing import RunFailed, run_nf
from tests.nf.conftest import MakeCapture, connection, udp

IP, TRANSPORT, UDP_DATA = 14, 34, 42


class Marker(NetworkFunction):
    """Edits each UDP datagram: the last byte of its data, its TTL; and gives it a tag."""

    @on("udp.datagram")
    def mark(self, event: Event) -> None:
        """In three calls, which are one edit."""
        event.edit(payload=b"!", payload_offset=len(event.data) - 1, ip_ttl=9)
        event.push_vlan(7)
        event.edit(destination_port=53)
        assert b"!" not in bytes(event.data)


class Watcher(NetworkFunction):
    """Notes what it sees, wherever it stands."""

    edits = ""  # whatever the rest of this file says
    seen: ClassVar[list[tuple[bytes, bytes, int]]] = []

    def start(self) -> None:
        """Begins anew."""
        self.seen.clear()

    @on("udp.datagram")
    def look(self, event: Event) -> None:
        """Bytes, and fields."""
        self.seen.append((bytes(event.data), bytes(event.frame), event.flow.destination_port))


class BatchWatcher(NetworkFunction):
    """The same, in batches."""

    edits = ""

    @on_batch("udp.datagram")
    def look(self, batch: Batch) -> None:
        """Bytes of each."""
        for event in batch:
            self.record(event, data=bytes(event.data).decode())


class BatchMarker(NetworkFunction):
    """Edits in batches."""

    @on_batch("udp.datagram")
    def mark(self, batch: Batch) -> None:
        """Each event's packet."""
        for event in batch:
            event.edit(payload=bytes(event.data).upper())


class Replacer(NetworkFunction):
    """A second editor: what it sees is what the first one left."""

    @on("udp.datagram")
    def replace(self, event: Event) -> None:
        """Turns it round."""
        event.edit(payload=bytes(event.data)[::-1])
        event.push_vlan(8, ether_type=0x88A8, priority=5)


class Dropper(NetworkFunction):
    """Drops by what it sees."""

    edits = ""

    @on("udp.datagram")
    def judge(self, event: Event) -> Any:
        """The edited byte."""
        return DROP if bytes(event.data).endswith(b"!") else None


class Resetter(NetworkFunction):
    """Resets what it has edited."""

    @on("tcp.data")
    def judge(self, event: Event) -> Any:
        """Another port, as the server is to know it."""
        event.edit(source_port=4321)
        return RESET


class Publisher(NetworkFunction):
    """Publishes what is left of a datagram."""

    edits = ""
    declares: ClassVar = {"udp.datagram.seen": {"size": "u32"}}
    publishes = ("udp.datagram.seen",)

    @on("udp.datagram")
    def tell(self, event: Event) -> None:
        """Of each."""
        self.publish("udp.datagram.seen", cause=event, size=len(event.data))


class Reader(NetworkFunction):
    """Reads the bytes of what another NF published."""

    edits = ""
    declares = Publisher.declares

    @on("udp.datagram.seen")
    def look(self, event: Event) -> None:
        """As they are when it comes to them."""
        self.record(event, data=bytes(event.data).decode())


def test_the_output_has_it(capture: MakeCapture) -> None:
    result = run_nf(Marker, capture([udp(b"hello")]))
    (packet,) = result.output
    assert packet.data[12:18] == bytes.fromhex("810000070800")
    assert packet.data[IP + 4 + 8] == 9
    assert packet.data[UDP_DATA + 4 :] == b"hell!"
    assert int.from_bytes(packet.data[TRANSPORT + 4 + 2 :][:2]) == 53
    assert result.counters["gate_edits"] == 1
    assert result.counters["gate_edits_refused"] == 0


def test_earlier_nfs_see_it_as_received_and_later_ones_as_it_leaves(capture: MakeCapture) -> None:
    path = capture([udp(b"hello")])
    run_nf([Watcher, Marker], path)
    assert Watcher.seen == [(b"hello", udp(b"hello"), 2000)]
    result = run_nf([Marker, Watcher], path)
    assert Watcher.seen == [(b"hell!", result.output[0].data, 2000)]  # fields are as received


def test_a_second_editor_goes_on_from_the_first(capture: MakeCapture) -> None:
    result = run_nf([Marker, Replacer, Watcher], capture([udp(b"hello")]))
    assert Watcher.seen[0][0] == b"!lleh"
    data = result.output[0].data
    assert data[12:22] == bytes.fromhex("88a8a008810000070800")
    assert data[UDP_DATA + 8 :] == b"!lleh"


@pytest.mark.parametrize("chain", [[Marker, BatchWatcher], [BatchMarker, BatchWatcher]])
def test_nfs_that_take_batches_see_and_edit_alike(
    capture: MakeCapture, chain: list[type[NetworkFunction]]
) -> None:
    texts = [f"datagram {number}" for number in range(3000)]
    result = run_nf(chain, capture([udp(one.encode()) for one in texts]))
    edited = [f"{one[:-1]}!" if chain[0] is Marker else one.upper() for one in texts]
    assert [one["data"] for one in result.records] == edited


def test_a_later_nf_may_drop_what_is_edited(capture: MakeCapture) -> None:
    result = run_nf([Marker, Dropper], capture([udp(b"hello")]))
    assert result.output == []
    assert run_nf([Dropper, Marker], capture([udp(b"hello")])).output != []


def test_what_nfs_publish_shows_the_packet_as_it_is_then(capture: MakeCapture) -> None:
    chain = [Publisher, Marker, Reader]
    result = run_nf(chain, capture([udp(b"hello")]))
    assert result.records[0]["data"] == "hell!"


def test_the_rst_to_the_receiver_is_made_of_the_edited_segment(capture: MakeCapture) -> None:
    result = run_nf(Resetter, capture(connection([b"hello"])))
    onwards, back = result.output[3:5]
    assert struct.unpack(">HH", onwards.data[34:38]) == (4321, 80)
    assert struct.unpack(">HH", back.data[34:38]) == (80, 1234)


def test_a_flows_new_name_goes_over_an_edit(capture: MakeCapture) -> None:
    class Both(NetworkFunction):
        @on("udp.start")
        def begin(self, event: Event) -> None:
            event.flow.rewrite(source="192.0.2.7")

        @on("udp.datagram")
        def edit(self, event: Event) -> None:
            event.edit(ip_source="192.0.2.8", ip_destination="192.0.2.9")

    (packet,) = run_nf(Both, capture([udp(b"hello")])).output
    assert packet.data[26:34] == socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.9")


class Guard(NetworkFunction):
    """Reads a stream inline: what is behind a hole waits at the gate until it has seen it."""

    edits = ""

    @on("tcp.data")
    def judge(self, event: Event) -> Any:
        """Lets all pass that is not evil."""
        return DROP if b"evil" in bytes(event.data) else None


class Tagger(NetworkFunction):
    """Edits the headers of every frame."""

    @on("packet")
    def tag(self, event: Event) -> None:
        """As a switch would."""
        event.push_vlan(7)
        event.edit(ip_ttl=9)


class Upper(NetworkFunction):
    """Edits bytes at the packet, whatever the stream waits for."""

    @on("packet.ip.tcp")
    def change(self, event: Event) -> None:
        """Of each segment that has some."""
        if len(event.data):
            event.edit(payload=bytes(event.data).upper())


@pytest.mark.parametrize("chain", [[Guard, Tagger], [Tagger, Guard]])
def test_what_waited_for_bytes_before_it_leaves_edited(
    capture: MakeCapture, chain: list[type[NetworkFunction]]
) -> None:
    frames = connection([b"one", b"two", b"three"])
    frames[3], frames[4], frames[5] = frames[4], frames[5], frames[3]
    result = run_nf(chain, capture(frames))
    assert [one.data[12:16] for one in result.output] == [bytes.fromhex("81000007")] * len(frames)
    assert {one.data[26] for one in result.output} == {9}
    assert [one.data[58:] for one in result.output[3:6]] == [b"one", b"two", b"three"]
    assert result.counters["gate_edits"] == len(frames)


def test_of_a_segment_that_waits_the_stream_says_the_bytes(capture: MakeCapture) -> None:
    frames = connection([b"one", b"two"])
    frames[3], frames[4] = frames[4], frames[3]
    result = run_nf([Guard, Upper], capture(frames))
    assert [one.data[54:] for one in result.output[3:5]] == [b"ONE", b"two"]
    assert result.counters["gate_edits_refused"] == 1


def test_what_leaves_depends_on_neither_the_log_nor_the_schedule(
    capture: MakeCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest log and the least room for versions: all wait for each other all the time."""
    path = capture([udp(bytes(1000), port) for port in range(1000, 6000)])
    outputs = []
    for slots, room in ((4096, "1MiB"), (4096, "16MiB"), (65536, "1MiB")):
        monkeypatch.setattr(in_process, "LOG_SLOTS", slots)
        chain = [Marker, Replacer, BatchWatcher]
        result = run_nf(chain, path, stack={"version_bytes": room})
        assert result.counters["gate_edits"] == 10_000
        outputs.append(result.output)
    assert outputs[0] == outputs[1] == outputs[2]


# --- what is declared ---


def test_who_edits_packets_is_inline_and_known_by_its_code() -> None:
    assert edits_of(Marker) == "payload"
    assert is_inline(Marker)
    assert edits_packets(Marker)
    assert not edits_packets(Watcher)
    assert not rewrites_flows(Watcher)


def test_what_is_written_in_the_class_goes_before() -> None:
    class Headers(NetworkFunction):
        edits = "headers"

    assert edits_packets(Headers)
    with pytest.raises(DefinitionError, match='"headers", "payload", "" or None'):
        type("Wrong", (NetworkFunction,), {"edits": "frames"})


def editing(call: str, declared: str | None = "payload", on_type: str = "udp.datagram") -> Any:
    """An NF that does `call` with each event."""
    namespace: dict[str, Any] = {"edits": declared}

    def handle(_self: Any, event: Event) -> None:
        eval(call, {"event": event})

    namespace["handle"] = on(on_type)(handle)
    return type("Editing", (NetworkFunction,), namespace)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("event.edit()", "says what"),
        ("event.edit(ip_tll=9)", "did you mean 'ip_ttl'"),
        ("event.edit(colour=9)", "fields are eth_source"),
        ("event.edit(ip_ttl=256)", "a number up to 255, not 256"),
        ("event.edit(ip_dscp=True)", "a number up to 63, not True"),
        ("event.edit(ip_source='::1')", "an IPv4 address, not '::1'"),
        ("event.edit(eth_source='02:00:00')", "an address such as 02:00"),
        ("event.edit(tcp_window=9)", "a field of TCP; this packet is of protocol 17"),
        ("event.edit(payload=b'longer than it')", "of 14 bytes at 0 takes the place"),
        ("event.edit(payload=b'lo!', payload_offset=3)", "of the event's 5"),
        ("event.edit(payload=b'x', payload_offset=-1)", "at -1"),
        ("event.edit(payload='text')", "payload is bytes, not str"),
        ("event.push_vlan(4095)", "a number up to 4094"),
        ("event.push_vlan(5, ether_type=0x800)", "0x8100, 0x88A8 or 0x9100"),
        ("[event.push_vlan(5) for _ in range(3)]", "at most 2 VLAN tags"),
        ("[event.edit(payload=b'x') for _ in range(65)]", "in 64 places"),
    ],
)
def test_what_cannot_be_is_refused(capture: MakeCapture, call: str, message: str) -> None:
    with pytest.raises(RunFailed, match=message):
        run_nf(editing(call), capture([udp(b"hello")]))


@pytest.mark.parametrize(
    ("declared", "call", "message"),
    [
        ("", "event.edit(ip_ttl=3)", 'write edits = "headers"'),
        ("", "event.pop_vlan()", 'write edits = "headers"'),
        ("headers", "event.edit(payload=b'h')", 'write edits = "payload"'),
    ],
)
def test_who_did_not_declare_it_is_told_what_to_write(
    capture: MakeCapture, declared: str, call: str, message: str
) -> None:
    with pytest.raises(RunFailed, match=message):
        run_nf(editing(call, declared), capture([udp(b"hello")]))


def test_an_event_that_is_not_about_a_packet_edits_none(capture: MakeCapture) -> None:
    with pytest.raises(RunFailed, match="not about a packet"):
        run_nf(editing("event.edit(ip_ttl=3)", on_type="udp.end"), capture([udp(b"hello")]))


def test_what_only_the_worker_can_tell_is_counted(capture: MakeCapture) -> None:
    result = run_nf(editing("event.pop_vlan()"), capture([udp(b"hello")]))
    assert result.counters["gate_edits_refused"] == 1
    assert [one.data for one in result.output] == [udp(b"hello")]


# --- against frames made anew ---


@dataclasses.dataclass
class Made:
    """A frame by its parts, with checksums worked out over all of it."""

    version: int
    protocol: int
    tags: list[tuple[int, int]]
    ttl: int
    traffic_class: int
    ports: tuple[int, int]
    window: int
    flags: int
    data: bytes

    def frame(self) -> bytes:
        addresses = [bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])]
        if self.version == 6:
            addresses = [bytes([0x20, 1, *[0] * 13, last]) for last in (1, 2)]
        transport = self._transport(b"".join(addresses))
        header = self._ip(addresses, len(transport))
        tags = b"".join(struct.pack(">HH", *tag) for tag in self.tags)
        ether_type = b"\x08\x00" if self.version == 4 else b"\x86\xdd"
        return bytes(12) + tags + ether_type + header + transport

    def _ip(self, addresses: list[bytes], size: int) -> bytes:
        if self.version == 6:
            word = 6 << 28 | self.traffic_class << 20 | 0x12345
            return struct.pack(">IHBB", word, size, self.protocol, self.ttl) + b"".join(addresses)
        parts = (0x45, self.traffic_class, 20 + size, 7, 0, self.ttl, self.protocol)
        header = struct.pack(">BBHHHBBH", *parts, 0) + b"".join(addresses)
        return struct.pack(">BBHHHBBH", *parts, checksum(header)) + b"".join(addresses)

    def _transport(self, addresses: bytes) -> bytes:
        size = len(self.data) + (20 if self.protocol == 6 else 8)
        pseudo = addresses + struct.pack(">II", size, self.protocol)
        value = checksum(pseudo + self._segment(0))
        return self._segment(value or 0xFFFF if self.protocol == 17 else value)

    def _segment(self, value: int) -> bytes:
        if self.protocol == 17:
            return struct.pack(">HHHH", *self.ports, 8 + len(self.data), value) + self.data
        numbers = (*self.ports, 100, 200, 0x50, self.flags, self.window, value, 0)
        return struct.pack(">HHIIBBHHH", *numbers) + self.data


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def some_frame(chance: random.Random) -> Made:
    return Made(
        version=chance.choice((4, 6)),
        protocol=chance.choice((6, 17)),
        tags=[(0x8100, chance.randrange(1, 4095)) for _ in range(chance.randrange(3))],
        ttl=chance.randrange(1, 256),
        traffic_class=chance.randrange(256),
        ports=(chance.randrange(20_000, 65_536), chance.randrange(20_000, 65_536)),
        window=chance.randrange(65_536),
        flags=0x10,
        data=chance.randbytes(chance.randrange(1, 60)),
    )


def some_edit(chance: random.Random, made: Made) -> tuple[dict[str, Any], Made]:
    """What to say of the frame, and the frame that it should become."""
    after = dataclasses.replace(made)
    said: dict[str, Any] = {}
    if chance.random() < 0.5:
        said["ip_ttl"] = after.ttl = chance.randrange(256)
    if chance.random() < 0.5:
        said["ip_dscp"] = chance.randrange(64)
        after.traffic_class = said["ip_dscp"] << 2 | after.traffic_class & 3
    if chance.random() < 0.5:
        said["source_port"] = chance.randrange(20_000, 65_536)
        after.ports = (said["source_port"], after.ports[1])
    if made.protocol == 6 and chance.random() < 0.5:
        said["tcp_window"] = after.window = chance.randrange(65_536)
    if chance.random() < 0.7 or not said:
        said["payload_offset"] = start = chance.randrange(len(made.data))
        said["payload"] = chance.randbytes(chance.randrange(1, len(made.data) - start + 1))
        behind = made.data[start + len(said["payload"]) :]
        after.data = made.data[:start] + said["payload"] + behind
    return said, after


def test_random_edits_make_what_frames_made_anew_would_be(capture: MakeCapture) -> None:
    chance = random.Random(11)
    frames = [some_frame(chance) for _ in range(2000)]
    edits = [some_edit(chance, one) for one in frames]
    tags = [chance.randrange(1, 4095) if chance.random() < 0.3 else 0 for _ in frames]

    class Random(NetworkFunction):
        edits = "payload"

        @on("packet")
        def change(self, event: Event) -> None:
            number = event.packet - 1
            event.edit(**said[number])
            if frames[number].tags and number % 2:
                event.pop_vlan()
            if tags[number]:
                event.push_vlan(tags[number])

    said = [one for one, _ in edits]
    expected = []
    for number, (_, after) in enumerate(edits):
        left = after.tags[1:] if after.tags and number % 2 else after.tags
        after.tags = [(0x8100, tags[number]), *left] if tags[number] else left
        expected.append(after.frame())
    result = run_nf(Random, capture([one.frame() for one in frames]))
    assert result.counters["gate_edits"] == len(frames)
    assert [one.data for one in result.output] == expected
