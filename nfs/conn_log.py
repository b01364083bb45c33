"""Every connection, as Zeek's conn.log has it, with its Community ID.

The lines of the log are Zeek's in JSON, beside the `timestamp` that all logs have: here the time of
the connection's end. Run as a program, this file makes Zeek's text format of them:

    python -m microbox.nfs.conn_log microbox-logs/conn_log.jsonl > conn.log
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import signal
import string
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from microbox import Event, NetworkFunction, community_id, icmp_ports, on, parameter

NANOSECONDS = 1_000_000_000
SEQUENCE_NUMBERS = 1 << 32
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmp"}
SERVICES = {"http": "http", "tls": "ssl", "dns": "dns"}
"""Zeek's name of what a parser's events are about."""

LOCAL_NETWORKS = (
    "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1/128 fc00::/7 fe80::/10"
).split()

ANOMALIES = {"bad_checksum": "c", "retransmission": "t", "zero_window": "w"}
"""The letter in the history, by the last word of the event's name."""

FIELDS = {
    "ts": "time",
    "uid": "string",
    "id.orig_h": "addr",
    "id.orig_p": "port",
    "id.resp_h": "addr",
    "id.resp_p": "port",
    "proto": "enum",
    "service": "string",
    "duration": "interval",
    "orig_bytes": "count",
    "resp_bytes": "count",
    "conn_state": "string",
    "local_orig": "bool",
    "local_resp": "bool",
    "missed_bytes": "count",
    "history": "string",
    "orig_pkts": "count",
    "orig_ip_bytes": "count",
    "resp_pkts": "count",
    "resp_ip_bytes": "count",
    "tunnel_parents": "set[string]",
    "ip_proto": "count",
    "community_id": "string",
}
"""Zeek's names and types, in its order."""

NOT_ALWAYS = {"service", "duration", "orig_bytes", "resp_bytes", "history", "tunnel_parents"}
KINDS = {
    "time": "f64: seconds since the epoch, of the first packet",
    "interval": "f64: seconds",
    "port": "u16: of ICMP a type or a code",
    "count": "u64",
    "bool": "bool",
}
"""What JSON has for Zeek's types; for all others, a text."""


def json_kind(name: str) -> str:
    """Of a field, as the class says it of its lines."""
    kind, colon, doc = KINDS.get(FIELDS[name], "text").partition(":")
    return f"{kind}{'?' if name in NOT_ALWAYS else ''}{colon}{doc}"


class State(Enum):
    """How far one side of a connection is, in Zeek's words."""

    INACTIVE = "nothing was sent"
    SYN_SENT = "a SYN was sent"
    SYN_ACK_SENT = "the originator sent a SYN/ACK"
    PARTIAL = "the beginning was not seen"
    ESTABLISHED = "the handshake was answered"
    CLOSED = "a FIN was sent"
    RESET = "a RST was sent"


ENDED = (State.CLOSED, State.RESET)
UNSEEN = (State.INACTIVE, State.PARTIAL)
OPENING = (State.SYN_SENT, State.SYN_ACK_SENT)


@dataclass(slots=True)
class Side:
    """What one side of a connection sent."""

    is_originator: bool
    state: State = State.INACTIVE
    was_closed: bool = False  # before it was reset
    packets: int = 0
    ip_bytes: int = 0
    size: int = 0  # bytes of its stream; of datagrams, of their payload
    first: int | None = None  # sequence number of its first byte
    has_fin: bool = False
    has_acked: bool = False
    letters: Counter[str] = field(default_factory=Counter)
    last: dict[str, int] = field(default_factory=dict)  # sequence number by letter


@dataclass(slots=True)
class Connection:
    """What is known of a connection until it ends."""

    protocol: int
    last_time: int
    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(True), Side(False)))
    history: str = ""
    missed_bytes: int = 0
    services: set[str] = field(default_factory=set)
    icmp: tuple[int, int] | None = None  # what ICMP has for ports

    def note(self, side: Side, letter: str) -> None:
        """A letter of the history; the originator's are in upper case."""
        self.history += letter.upper() if side.is_originator else letter

    def note_once(self, side: Side, letter: str) -> None:
        """For what is of interest the first time."""
        side.letters[letter] += 1
        if side.letters[letter] == 1:
            self.note(side, letter)

    def note_power(self, side: Side, letter: str) -> None:
        """For what is noted at the first, the tenth, the hundredth time."""
        side.letters[letter] += 1
        count = str(side.letters[letter])
        if count[0] == "1" and not count.strip("1").strip("0") and count.count("1") == 1:
            self.note(side, letter)

    def note_at(self, side: Side, letter: str, sequence: int) -> None:
        """For segments that are noted again where their sequence number is another one."""
        if side.last.get(letter) != sequence:
            self.note(side, letter)
        side.last[letter] = sequence


class ConnLog(NetworkFunction):
    """Write one line for each connection that ends, with the fields of Zeek's conn.log.

    It reads each packet's header, for the history and the bytes of IP; flow_log reads ends alone.
    """

    records: ClassVar = {"": {name: json_kind(name) for name in FIELDS}}

    local: list[str] = parameter(
        LOCAL_NETWORKS,
        "networks whose hosts are local",
    )
    seed: int = parameter(0, "of the Community ID; the same in all tools that are to agree")

    def start(self) -> None:
        """Begin to count."""
        self.connections: dict[int, Connection] = {}
        self.states: Counter[str] = Counter()
        self.services: Counter[str] = Counter()
        networks = [ipaddress.ip_network(one, strict=False) for one in self.local]

        @cache
        def is_local(address: str) -> bool:
            parsed = ipaddress.ip_address(address)
            return any(parsed in network for network in networks)

        self.is_local = is_local

    @on("packet.ip")
    def packet(self, event: Event) -> None:
        """Count a packet, and follow what its flags mean for the connection."""
        flow = event.flow
        if not flow or event.type.name.endswith(".fragment"):
            return
        connection = self.connections.get(flow.id)
        if connection is None:
            connection = Connection(flow.protocol_number, event.time)
            self.connections[flow.id] = connection
            if event.direction and connection.protocol == TCP:
                connection.history = "^"
        if flow.protocol_number != connection.protocol:
            return  # an ICMP error about it
        side, peer = connection.sides[:: -1 if event.direction else 1]
        length = ip_length(event)
        side.packets += 1
        side.ip_bytes += length
        payload = max(0, event.network_offset + length - event.payload_offset)
        if connection.protocol == TCP:
            segment(connection, side, peer, event, payload)
            return
        connection.last_time = event.time
        side.size += payload
        if connection.protocol == UDP:
            connection.note_once(side, "d")
        elif connection.protocol in (ICMP, ICMPV6) and connection.icmp is None:
            message = event.frame[event.transport_offset : event.transport_offset + 2]
            connection.icmp = icmp_ports(connection.protocol, message[0], message[1])

    @on("tcp.gap")
    def gap(self, event: Event) -> None:
        """Bytes that the capture does not have."""
        if connection := self.connections.get(event.flow.id):
            connection.missed_bytes += event.length
            connection.note_power(connection.sides[event.direction], "g")

    @on("tcp.anomaly.bad_checksum", "tcp.anomaly.retransmission", "tcp.anomaly.zero_window")
    def anomaly(self, event: Event) -> None:
        """What the history has a letter for."""
        if connection := self.connections.get(event.flow.id):
            letter = ANOMALIES[event.name.rpartition(".")[2]]
            connection.note_power(connection.sides[event.direction], letter)

    @on("http", "tls", "dns")
    def service(self, event: Event) -> None:
        """What is spoken on the connection, as the parsers found it."""
        if connection := self.connections.get(event.flow.id):
            layer = next(word for word in event.name.split(".") if word in SERVICES)
            connection.services.add(SERVICES[layer])

    @on("tcp.end", "udp.end", "icmp.end", "flow.end")
    def end(self, event: Event) -> None:
        """Write the connection."""
        connection = self.connections.pop(event.flow.id, None)
        if connection is None:
            return
        if event.flow.protocol_number == TCP:
            measure(connection, event)
        fields = self.fields(connection, event)
        self.states[fields["conn_state"]] += 1
        self.services.update(connection.services)
        # No event: Zeek's names take the place of those that logs have otherwise.
        self.record(None, **{name: fields[name] for name in FIELDS if fields.get(name) is not None})

    def fields(self, connection: Connection, event: Event) -> dict[str, Any]:
        """Of the line, by Zeek's names; what is not known is left out, or None."""
        flow = event.flow
        originator, responder = connection.sides
        ports = connection.icmp or (flow.source_port, flow.destination_port)
        tuple_ = (flow.source, flow.destination, *ports)
        fields: dict[str, Any] = {
            "ts": round(event.started / NANOSECONDS, 6),
            "uid": unique_id(event.started, flow.raw_tuple),
            "id.orig_h": flow.source,
            "id.orig_p": ports[0],
            "id.resp_h": flow.destination,
            "id.resp_p": ports[1],
            "proto": PROTOCOLS.get(flow.protocol_number, "unknown_transport"),
            "service": ",".join(sorted(connection.services)) or None,
            "conn_state": conn_state(connection, flow.protocol_number),
            "local_orig": self.is_local(flow.source),
            "local_resp": self.is_local(flow.destination),
            "missed_bytes": connection.missed_bytes,
            "history": connection.history or None,
            "orig_pkts": originator.packets,
            "orig_ip_bytes": originator.ip_bytes,
            "resp_pkts": responder.packets,
            "resp_ip_bytes": responder.ip_bytes,
            "ip_proto": flow.protocol_number,
            "community_id": community_id(*tuple_, flow.protocol_number, seed=self.seed),
        }
        if connection.last_time > event.started:
            fields["duration"] = round((connection.last_time - event.started) / NANOSECONDS, 6)
            fields["orig_bytes"] = originator.size
            fields["resp_bytes"] = responder.size
        return fields

    def finish(self) -> dict[str, Any]:
        """Say how many there were, in which states, and what was spoken."""
        return {
            "connections": self.states.total(),
            "states": dict(sorted(self.states.items())),
            "services": dict(sorted(self.services.items())),
        }


def ip_length(event: Event) -> int:
    """Bytes of the packet from its IP header on, as the header has it."""
    at = event.network_offset
    header = event.frame[at : at + 6]
    total = int.from_bytes(header[2:4])
    if event.ip_version == 6:  # noqa: PLR2004
        total = int.from_bytes(header[4:6]) + 40  # without the header itself (RFC 8200 section 3)
    # 0 where the network card was left to cut a long packet into segments.
    return total or event.wire_length - at


def segment(connection: Connection, side: Side, peer: Side, event: Event, length: int) -> None:
    """What a segment with so many bytes of payload says of its connection."""
    flags, at = event.tcp_flags, event.transport_offset
    if side.first is None or flags & (SYN | FIN | RST):
        sequence = int.from_bytes(event.frame[at + 4 : at + 8])
        note_flags(connection, side, flags, sequence, length)
        if flags & SYN:
            side.first = sequence + 1
        elif side.first is None:
            side.first = sequence
    else:
        connection.note_once(side, "d" if length else "a")
    if flags & (ACK | RST) == ACK and peer.first is None:
        # It sent nothing that was captured, and this is where that ended.
        peer.first = int.from_bytes(event.frame[at + 8 : at + 12])
    if not (side.state in ENDED and peer.state in ENDED):
        connection.last_time = event.time
    side.has_fin |= bool(flags & FIN)
    side.has_acked |= flags & (ACK | RST) == ACK
    advance(side, peer, flags, length)


def note_flags(connection: Connection, side: Side, flags: int, sequence: int, length: int) -> None:
    """The letters for the flags of a segment."""
    match flags & SYN, flags & FIN, flags & RST:
        case (0, 0, 0):
            connection.note_once(side, "d" if length else "a")
        case (_, 0, 0):
            connection.note_at(side, "h" if flags & ACK else "s", sequence)
        case (0, _, 0):
            connection.note_at(side, "f", sequence + length)
        case (0, 0, _):
            connection.note_at(side, "r", sequence)
        case (0, _, _):
            connection.note_once(side, "i")
        case _:
            connection.note_once(side, "q")


def advance(side: Side, peer: Side, flags: int, length: int) -> None:
    """The state of a side behind a segment that it sent."""
    before = side.state
    if before is State.RESET:
        return
    if flags & RST:
        if not (before is State.CLOSED and peer.state is State.CLOSED):
            side.was_closed = before is State.CLOSED
            side.state = State.RESET
    elif flags & FIN:
        side.state = State.CLOSED
        if peer.state is State.RESET and peer.was_closed:
            peer.state = State.CLOSED  # its FIN and RST were the end of its side
    elif before is State.INACTIVE:
        begin(side, peer, flags, length)


def begin(side: Side, peer: Side, flags: int, length: int) -> None:
    """The first segment of a side."""
    if flags & SYN and side.is_originator:
        side.state = State.SYN_ACK_SENT if flags & ACK else State.SYN_SENT
    elif flags & SYN:
        side.state = State.ESTABLISHED
        if peer.state is State.SYN_SENT:
            peer.state = State.ESTABLISHED
    elif not side.is_originator and not length and peer.state is State.SYN_SENT:
        pass  # some acknowledge a SYN before they answer it
    elif flags & ACK and peer.state is State.ESTABLISHED:
        side.state = State.ESTABLISHED  # its SYN was missed
    else:
        side.state = State.PARTIAL


def measure(connection: Connection, event: Event) -> None:
    """The bytes of both streams, by their sequence numbers."""
    for number, side in enumerate(connection.sides):
        sent, answered = event.snapshot.side[number], event.snapshot.side[1 - number].acknowledged
        if side.first is None:
            continue
        end = sent.next if side.packets else side.first
        if connection.sides[1 - number].has_acked and distance(end, answered) > 0:
            end = answered  # it has what the capture has not
        size = (end - side.first) % SEQUENCE_NUMBERS
        # Numbers begin anew after 4 GiB: how often, the bytes that were seen tell.
        size += SEQUENCE_NUMBERS * round((sent.bytes - size) / SEQUENCE_NUMBERS)
        side.size = max(0, size - side.has_fin)


def distance(first: int, second: int) -> int:
    """From one sequence number to another one; negative where that is behind it."""
    return (second - first + SEQUENCE_NUMBERS // 2) % SEQUENCE_NUMBERS - SEQUENCE_NUMBERS // 2


def conn_state(connection: Connection, protocol: int) -> str:
    """Zeek's word for how far the connection came."""
    originator, responder = connection.sides
    if protocol == TCP:
        return tcp_state(connection, originator, responder)
    if protocol != UDP:
        return "OTH"
    if originator.packets:
        return "SF" if responder.packets else "S0"
    return "SHR"


def tcp_state(connection: Connection, originator: Side, responder: Side) -> str:  # noqa: PLR0911
    """The same of TCP."""
    here, there = originator.state, responder.state
    if there is State.RESET:
        is_empty = here is State.RESET and not originator.size and not responder.size
        if here in OPENING or is_empty:
            return "REJ"
        return "RSTRH" if here in UNSEEN else "RSTR"
    if here is State.RESET:
        if there not in UNSEEN:
            return "RSTO"
        only_syn = connection.history.lstrip("^").startswith("S")
        return "RSTOS0" if only_syn and not set("HAFGIQ") & set(connection.history) else "OTH"
    if here is there is State.CLOSED:
        return "SF"
    if here is State.CLOSED:
        return "SH" if there in UNSEEN else "S2"
    if there is State.CLOSED:
        return "SHR" if here in UNSEEN else "S3"
    if here is State.SYN_SENT and there is State.INACTIVE:
        return "S0"
    return "S1" if here is there is State.ESTABLISHED else "OTH"


def unique_id(started: int, raw_tuple: bytes) -> str:
    """A name for the connection that looks like Zeek's: the same in every replay, of 96 bits."""
    digest = hashlib.sha256(started.to_bytes(8) + raw_tuple).digest()
    number, letters = int.from_bytes(digest[:12]), string.digits + string.ascii_letters
    name = ""
    while number:
        number, digit = divmod(number, len(letters))
        name = letters[digit] + name
    return f"C{name}"


# --- Zeek's text format ---


def zeek_text(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Lines of Zeek's log, of what this NF recorded. Its times of opening and closing are the first
    and the last record's, so that it is the same in every replay."""
    closed = None
    for fields in records:
        if closed is None:
            yield from header(fields["timestamp"])
        closed = fields["timestamp"]
        yield "\t".join(written(fields.get(name), kind) for name, kind in FIELDS.items())
    if closed is None:
        yield from header(0)
    yield f"#close\t{moment(closed or 0)}"


def header(opened: float) -> Iterator[str]:
    """What tools that read the log go by."""
    yield "#separator \\x09"
    yield "#set_separator\t,"
    yield "#empty_field\t(empty)"
    yield "#unset_field\t-"
    yield "#path\tconn"
    yield f"#open\t{moment(opened)}"
    yield "\t".join(("#fields", *FIELDS))
    yield "\t".join(("#types", *FIELDS.values()))


def moment(seconds: float) -> str:
    """A time as in a header."""
    return time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(seconds))


def written(value: Any, kind: str) -> str:
    """A value of one of Zeek's types."""
    if value is None:
        return "-"
    if kind in ("time", "interval"):
        return f"{value:.6f}"
    return "FT"[value] if kind == "bool" else str(value)


def main(arguments: Sequence[str]) -> int:
    """Prints the log that is named in Zeek's format; the exit status."""
    if len(arguments) != 1:
        print("usage: python -m microbox.nfs.conn_log CONN_LOG.jsonl", file=sys.stderr)
        return 2
    try:
        with Path(arguments[0]).open(encoding="utf-8") as log:
            sys.stdout.writelines(f"{line}\n" for line in zeek_text(map(json.loads, log)))
    except OSError as error:
        wrong = str(error.strerror)
    except (ValueError, LookupError, TypeError, AttributeError):
        wrong = "is none"
    else:
        return 0
    print(f"error: {arguments[0]}: {wrong}; expected a log that conn_log wrote", file=sys.stderr)
    return 2


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` has enough
    sys.exit(main(sys.argv[1:]))
