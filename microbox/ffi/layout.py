"""Where the fields of a payload lie, taken from the compiled structs.

A user's type is laid out as C would lay out a struct whose first member is the parent's payload:
each field naturally aligned, the whole padded to the largest alignment.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from microbox._core import ffi
from microbox.events.catalog import EventType, Field

USER_FIELD_FORMATS = {
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "i64": "q",
    "f64": "d",
    "text": "II",
}
SIZES = {"B": 1, "H": 2, "I": 4, "Q": 8, "b": 1, "h": 2, "i": 4, "q": 8, "d": 8, "II": 8, "16s": 16}
ALIGNMENTS = SIZES | {"II": 4, "16s": 1}
UNSIGNED = {1: "B", 2: "H", 4: "I", 8: "Q"}
SIGNED = {1: "b", 2: "h", 4: "i", 8: "q"}

PAYLOAD_SIZE: int = ffi.sizeof("union mb_payload")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one field lies: bytes from the payload's start, and its format as `struct` has it
    ("II" for a text, "16s" for an address)."""

    field: Field
    offset: int
    format: str

    @property
    def size(self) -> int:
        """Bytes of the field itself; a text's characters lie elsewhere."""
        return SIZES[self.format]


@dataclass(frozen=True, slots=True)
class Layout:
    """The fixed part of a payload: `size` bytes; texts follow it."""

    size: int
    alignment: int
    places: tuple[Place, ...]

    @property
    def is_in_entry(self) -> bool:
        """True where an entry of a log holds the payload whole."""
        return self.size <= PAYLOAD_SIZE


@functools.cache
def payload_layout(of: EventType) -> Layout:
    """The layout of a type's payload, fields in the order of `of.fields`."""
    if of.is_built_in or of.parent is None:
        places = tuple(_built_in_place(of, one) for one in of.fields)
        return Layout(struct_size(of.struct), struct_alignment(of.struct), places)
    inherited = payload_layout(of.parent)
    size, alignment = inherited.size, inherited.alignment
    own = []
    for one in of.own_fields:
        wanted = ALIGNMENTS[USER_FIELD_FORMATS[one.c_type]]
        alignment = max(alignment, wanted)
        place = Place(one, size + -size % wanted, USER_FIELD_FORMATS[one.c_type])
        own.append(place)
        size = place.offset + place.size
    return Layout(size + -size % alignment, alignment, (*inherited.places, *own))


def entry_place(*path: str | int) -> tuple[int, str]:
    """Where a field of struct mb_entry lies, and its format: ("snapshot", "side", 0, "bytes")."""
    c_type = ffi.typeof("struct mb_entry")
    for step in path:
        c_type = c_type.item if isinstance(step, int) else dict(c_type.fields)[step].type
    return ffi.offsetof("struct mb_entry", *path), _format(c_type)


def struct_size(name: str) -> int:
    """Bytes of `struct mb_NAME`; 0 for "none"."""
    return 0 if name == "none" else ffi.sizeof(f"struct mb_{name}")


def struct_alignment(name: str) -> int:
    """Alignment of `struct mb_NAME`; 1 for "none"."""
    return 1 if name == "none" else ffi.alignof(f"struct mb_{name}")


@functools.cache
def struct_chain(name: str) -> tuple[str, ...]:
    """The struct, its first member's struct, and so on: what its first bytes are as well."""
    if name == "none":
        return ()
    first = ffi.typeof(f"struct mb_{name}").fields[0][1].type
    if first.kind != "struct" or first.cname == "struct mb_text":
        return (name,)
    return (name, *struct_chain(first.cname.removeprefix("struct mb_")))


def _built_in_place(of: EventType, one: Field) -> Place:
    c_type = ffi.typeof(f"struct mb_{of.struct}")
    offset = 0
    for member in one.path:
        found = dict(c_type.fields)[member]
        offset += found.offset
        c_type = found.type
    return Place(one, offset, _format(c_type))


def _format(c_type: Any) -> str:
    if c_type.cname == "struct mb_text":
        return "II"
    if c_type.kind == "array":
        return f"{c_type.length}s"
    size = ffi.sizeof(c_type)
    return (SIGNED if int(ffi.cast(c_type, -1)) < 0 else UNSIGNED)[size]
