"""What the names of a condition mean for a type of event: a kind of value, and where it lies.

Names are those of the event's attributes in Python, so a condition reads like a handler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from microbox._core import ffi, lib
from microbox.chain.conditions.steps import Step
from microbox.events.catalog import Catalog, EventType
from microbox.ffi.layout import PAYLOAD_SIZE, Place, payload_layout, struct_chain
from microbox.nf.notation import PROTOCOLS
from microbox.nf.snapshot import TcpState


class Kind(Enum):
    """What a value is; its value is what messages call it."""

    NUMBER = "a number"
    DURATION = "a duration"
    TIME = "a time"
    TRUTH = "true or false"
    ADDRESS = "an address"
    OCTETS = "bytes"
    REASON = "a reason"
    STATE = "a TCP state"


@dataclass(frozen=True, slots=True)
class Field:
    """One name. `steps` leave its value on the stack; addresses and data have none. `names`: words
    that stand for its values."""

    kind: Kind
    steps: tuple[Step, ...] = ()
    place: int = 0  # of an address, in the entry
    names: Mapping[str, int] | None = None


DATA = "data"
MICROSECOND = 1000
SENDERS = {"side": 0, "peer": 1}
SIDES = ("originator", "responder")
DIRECTIONS = {"originator": 0, "responder": 1}
TCP_FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ECE": 64, "CWR": 128}
STATES = {state.name: state.value for state in TcpState}
PROTOCOL_NAMES = {name: number for number, name in PROTOCOLS.items()}
_INTEGERS = "BHIQ"
_ADDRESS = "16s"


def fields_of(of: EventType, catalog: Catalog) -> dict[str, Field]:
    """All names that a condition on this type's events may use, but its counters."""
    reasons = {one.name: one.number for one in catalog.reasons}
    fields = {
        "time": Field(Kind.TIME, (_load_of("entry", "time"),)),
        "packet": Field(Kind.NUMBER, (_load_of("entry", "packet"),)),
        "reason": Field(Kind.REASON, (_load_of("entry", "reason"),), names=reasons),
        "direction": Field(Kind.NUMBER, (Step(lib.MB_STEP_DIRECTION),), names=DIRECTIONS),
        DATA: Field(Kind.OCTETS),
        "data.length": Field(Kind.NUMBER, (_load_of("entry", "data_length"),)),
        "frame.length": Field(Kind.NUMBER, (_load_of("entry", "frame_length"),)),
        "flow.id": Field(Kind.NUMBER, (_load_of("entry", "flow"),)),
        "flow.age": Field(Kind.DURATION, (Step(lib.MB_STEP_AGE),)),
    }
    if not of.is_by_stack and not of.is_abstract:
        del fields["flow.age"]  # the flow's first packet is known to the stack
    fields.update(_payload(of))
    fields.update(_snapshot())
    if "tcp_flags" in fields:
        constants = {name: (Step(lib.MB_STEP_PUSH, value=bit),) for name, bit in TCP_FLAGS.items()}
        fields.update({name: Field(Kind.NUMBER, steps) for name, steps in constants.items()})
    return fields


def _payload(of: EventType) -> Iterator[tuple[str, Field]]:
    """Those that lie in the entry, and numbers that lie behind it in what NFs publish; no condition
    is on texts and floats."""
    begin = ffi.offsetof("struct mb_entry", "payload")
    is_flow = "flow" in struct_chain(of.struct)
    for place in payload_layout(of).places:
        if place.format not in _INTEGERS and place.format != _ADDRESS:
            continue
        if place.offset + place.size > PAYLOAD_SIZE:
            if place.format in _INTEGERS:
                load = Step(lib.MB_STEP_LOAD_PAYLOAD, place.size, place.offset)
                yield place.field.name, Field(Kind.NUMBER, (load,))
            continue
        field = _payload_field(place, begin + place.offset)
        yield place.field.name, field
        if is_flow and place.field.owner == "five_tuple":
            yield f"flow.{place.field.name}", field


def _payload_field(place: Place, offset: int) -> Field:
    if place.format == _ADDRESS:
        return Field(Kind.ADDRESS, place=offset)
    one = place.field
    load = (Step(lib.MB_STEP_LOAD, place.size, offset),)
    if one.owner == "tcp_state_change":
        return Field(Kind.STATE, load, names=STATES)
    if one.is_time:
        return Field(Kind.TIME, load)
    names = PROTOCOL_NAMES if one.name == "protocol" else None
    return Field(Kind.NUMBER, load, names=names)


def _snapshot() -> Iterator[tuple[str, Field]]:
    """Each side's fields four times: by its part in the flow, and by who sent this event."""
    begin = ffi.offsetof("struct mb_entry", "snapshot")
    size = ffi.sizeof("struct mb_side")
    for name, member in ffi.typeof("struct mb_side").fields:
        width = ffi.sizeof(member.type)
        place = begin + member.offset
        for number, side in enumerate(SIDES):
            load = Step(lib.MB_STEP_LOAD, width, place + number * size)
            yield f"{side}.{name}", _side_field(name, load)
        for sender, number in SENDERS.items():
            load = Step(lib.MB_STEP_LOAD_OF_SIDE, width, place, number)
            yield f"{sender}.{name}", _side_field(name, load)


def _side_field(name: str, load: Step) -> Field:
    if name == "state":
        return Field(Kind.STATE, (load,), names=STATES)
    if name == "round_trip":
        return Field(Kind.DURATION, (load, _times(MICROSECOND)))
    return Field(Kind.NUMBER, (load,))


def _load_of(struct: str, member: str) -> Step:
    c_type = ffi.typeof(f"struct mb_{struct}")
    width = ffi.sizeof(dict(c_type.fields)[member].type)
    return Step(lib.MB_STEP_LOAD, width, ffi.offsetof(c_type, member))


def _times(factor: int) -> Step:
    return Step(lib.MB_STEP_MULTIPLY, width=1, value=factor)
