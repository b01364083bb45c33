"""How a line of an NF's log is written: JSON with the time and the flow of the event, and the NF's
own fields behind them or, in EVE's form, in an object of their own.

    {"timestamp": 1700000000.123456789, "flow_id": 17, "src_ip": "10.0.0.1", ...}

    {"timestamp": "2023-11-14T22:13:20.123456+0000", "flow_id": 17, "event_type": "flow",
     "src_ip": "10.0.0.1", ..., "community_id": "1:...", "flow": {...}}

EVE is what Suricata writes: tools that read its eve.json read these. Names are EVE's in both forms
where the meaning is the same. In the first form times are exact: nanoseconds do not fit a double,
so the number is written digit by digit.
"""

from __future__ import annotations

import functools
import json
import os
import struct
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from microbox.nf.community_id import SCTP, TCP, UDP, community_id
from microbox.nf.errors import UsageError
from microbox.nf.event import Event
from microbox.nf.notation import PROTOCOLS, address_text, text_of
from microbox.nf.publication import turn_round

FORMATS = ("json", "eve")
NANOSECONDS = 1_000_000_000
MICROSECOND = 1000  # nanoseconds
ALERT = "alert"
SEVERITIES = 4
"""Of alerts: the highest is 4 here and 1 in EVE."""

EVE_PROTOCOLS = PROTOCOLS | {58: "IPv6-ICMP"}
WITH_PORTS = (TCP, UDP, SCTP)


class RecordForm(Protocol):
    """How a line looks."""

    def line(self, time: int, event: Event | None, fields: Mapping[str, Any]) -> str:
        """A JSON object. Raises UsageError for what JSON cannot say."""


class JsonForm:
    """The NF's fields behind those of the event."""

    def __init__(self, *, utc: bool) -> None:
        """`utc`: times as text instead of numbers."""
        self._stamp = utc_time if utc else epoch_time

    def line(self, time: int, event: Event | None, fields: Mapping[str, Any]) -> str:
        """See RecordForm."""
        return f'{{"timestamp": {self._stamp(time)}{flow_header(event)}{encoded(fields)}}}'


class EveForm:
    """The NF's fields in an object that has the name of the `event_type`, which is the NF's own
    where its record says none."""

    def __init__(self, name: str) -> None:
        """`name`: the NF's."""
        self._name = name

    def line(self, time: int, event: Event | None, fields: Mapping[str, Any]) -> str:
        """See RecordForm."""
        own = dict(fields)
        kind = str(own.pop("event_type", self._name))
        if kind == ALERT and own.get("severity") in range(1, SEVERITIES + 1):
            own["severity"] = eve_severity(own["severity"])
        name = _encoder.encode(kind)
        about, flow = eve_header(event)
        return (
            f'{{"timestamp": {eve_time(time)}{about}, "event_type": {name}{flow}'
            f", {name}: {{{encoded(own)[2:]}}}}}"
        )


def form_of(name: str, nf: str, *, utc: bool) -> RecordForm:
    """One of FORMATS, for the log of an NF."""
    return EveForm(nf) if name == "eve" else JsonForm(utc=utc)


def eve_severity(severity: int) -> int:
    """From one scale to the other one, in both directions."""
    return SEVERITIES + 1 - severity


def epoch_time(time: int) -> str:
    """Nanoseconds since the epoch as a JSON number of seconds with nine decimals."""
    seconds, nanoseconds = divmod(time, NANOSECONDS)
    return f"{seconds}.{nanoseconds:09d}"


def utc_time(time: int) -> str:
    """Nanoseconds since the epoch as a JSON string in RFC 3339's form."""
    seconds, nanoseconds = divmod(time, NANOSECONDS)
    return f'"{_utc_second(seconds)}.{nanoseconds:09d}Z"'


def eve_time(time: int) -> str:
    """The same with microseconds and a zone in figures, as EVE has it."""
    seconds, nanoseconds = divmod(time, NANOSECONDS)
    return f'"{_utc_second(seconds)}.{nanoseconds // MICROSECOND:06d}+0000"'


@functools.lru_cache(maxsize=64)
def _utc_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def flow_header(event: Event | None) -> str:
    """The fields that say which flow, or which packet, as part of a JSON object."""
    if event is None or not event._has_tuple:
        return ""
    return _identity(event) + _tuple_text(_tuple_of_flow(event))


def eve_header(event: Event | None) -> tuple[str, str]:
    """The same in EVE's names: what stands before the type of the event, and what behind it.
    `pcap_cnt` is the number of the packet in the capture."""
    if event is None:
        return "", ""
    packet = f', "pcap_cnt": {event.packet}'
    if not event._has_tuple:
        return packet, ""
    return _identity(event) + packet, _eve_tuple_text(_tuple_of_flow(event))


def _identity(event: Event) -> str:
    return f', "flow_id": {event.flow.id}' if event.flow else ""


def _tuple_of_flow(event: Event) -> bytes:
    """The event's struct mb_five_tuple, as the flow's originator has it; a packet's of no flow as
    it was sent."""
    raw = bytearray(event.flow.raw_tuple)
    if event._is_packet and event.flow and event.direction:
        turn_round(raw)
    return bytes(raw)


@functools.lru_cache(maxsize=65536)
def _tuple_text(raw: bytes) -> str:
    """Of struct mb_five_tuple; nothing where the frame carries no IP."""
    protocol, version = raw[36], raw[37]
    if not version:
        return ""
    source_port, destination_port = (
        int.from_bytes(raw[i : i + 2], sys.byteorder) for i in (32, 34)
    )
    name = PROTOCOLS.get(protocol) or str(protocol)
    return (
        f', "src_ip": "{address_text(raw[:16])}", "src_port": {source_port}'
        f', "dest_ip": "{address_text(raw[16:32])}", "dest_port": {destination_port}'
        f', "proto": "{name}"'
    )


@functools.lru_cache(maxsize=65536)
def _eve_tuple_text(raw: bytes) -> str:
    """The same in EVE's names: ports where the protocol has some, and the Community ID, which of
    ICMP hangs on the type of a message."""
    source_port, destination_port, protocol, version, vlan = struct.unpack_from("=HHBBH", raw, 32)
    if not version:
        return ""
    source, destination = address_text(raw[:16]), address_text(raw[16:32])
    name = EVE_PROTOCOLS.get(protocol) or str(protocol)
    fields: dict[str, Any] = {"vlan": [vlan]} if vlan else {}
    fields |= {"src_ip": source, "src_port": source_port}
    fields |= {"dest_ip": destination, "dest_port": destination_port, "proto": name}
    if protocol not in WITH_PORTS:
        del fields["src_port"], fields["dest_port"]
    if not name.endswith("ICMP"):
        ports = (source_port, destination_port)
        fields["community_id"] = community_id(source, destination, *ports, protocol)
    return encoded(fields)


def _plain(value: Any) -> Any:
    """What JSON has no word for: bytes as text, anything else with a path or an address."""
    if isinstance(value, bytes | bytearray | memoryview):
        return text_of(bytes(value))
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{value!r:.60} ({type(value).__name__}) cannot be written as JSON")


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)


def encoded(fields: Mapping[str, Any]) -> str:
    """The fields as the rest of a JSON object that has begun; "" for none."""
    if not fields:
        return ""
    try:
        return ", " + _encoder.encode(fields)[1:-1]
    except (TypeError, ValueError) as error:
        raise UsageError(f"record: {error}") from error
