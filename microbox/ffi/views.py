"""numpy's view of the shared structs, made from cffi's: nothing is declared here.

Names are the headers' own. Padding is left out. All integers are in host byte order.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from microbox._core import ffi
from microbox.events.catalog import EventType, Field

USER_FIELD_FORMATS = {
    "u8": "u1",
    "u16": "u2",
    "u32": "u4",
    "u64": "u8",
    "i64": "i8",
    "f64": "f8",
}
TEXT_DTYPE = np.dtype([("offset", "u4"), ("length", "u4")])
PADDING = ("reserved", "line")


@functools.cache
def struct_dtype(name: str) -> np.dtype[Any]:
    """The dtype of `struct mb_NAME`. Unions are raw bytes; padding keeps its place, unnamed."""
    return _dtype(ffi.typeof(f"struct mb_{name}"))


def _dtype(c_type: Any) -> np.dtype[Any]:
    if c_type.kind == "primitive":
        return _primitive_dtype(c_type)
    if c_type.kind == "array":
        return np.dtype((_dtype(c_type.item), (c_type.length,)))
    if c_type.kind == "union":
        return np.dtype(("u1", (ffi.sizeof(c_type),)))
    members = [(name, one) for name, one in c_type.fields if not name.startswith(PADDING)]
    return np.dtype(
        {
            "names": [name for name, _ in members],
            "formats": [_dtype(one.type) for _, one in members],
            "offsets": [one.offset for _, one in members],
            "itemsize": ffi.sizeof(c_type),
        }
    )


def _primitive_dtype(c_type: Any) -> np.dtype[Any]:
    size = ffi.sizeof(c_type)
    if c_type.cname in ("float", "double"):
        return np.dtype(f"f{size}")
    is_signed = int(ffi.cast(c_type, -1)) < 0
    return np.dtype(f"{'i' if is_signed else 'u'}{size}")


def entry_dtype() -> np.dtype[Any]:
    """An entry of the worker's log; `payload` is raw bytes."""
    return struct_dtype("entry")


def nf_entry_dtype() -> np.dtype[Any]:
    """An entry of an NF's log: `entry` and `provenance`."""
    return struct_dtype("nf_entry")


@functools.cache
def payload_dtype(of: EventType) -> np.dtype[Any]:
    """The whole payload of a type, laid flat, with the names of `of.fields`.

    A user's fields follow the parent's struct, each naturally aligned. Addresses are 16 bytes,
    texts `offset` and `length`.
    """
    names, formats, offsets = [], [], []
    size, alignment = _struct_size(of), _struct_alignment(of)
    for one in of.fields:
        if one in of.extra_fields:
            continue
        dtype, offset = _built_in_field(of, one)
        names.append(one.name)
        formats.append(dtype)
        offsets.append(offset)
    for one in of.extra_fields:
        dtype = _user_dtype(one)
        wanted = 4 if one.c_type == "text" else dtype.itemsize
        size += -size % wanted
        alignment = max(alignment, wanted)
        names.append(one.name)
        formats.append(dtype)
        offsets.append(size)
        size += dtype.itemsize
    size += -size % alignment
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def _struct_size(of: EventType) -> int:
    return 0 if of.struct == "none" else ffi.sizeof(f"struct mb_{of.struct}")


def _struct_alignment(of: EventType) -> int:
    return 1 if of.struct == "none" else ffi.alignof(f"struct mb_{of.struct}")


def _user_dtype(one: Field) -> np.dtype[Any]:
    return TEXT_DTYPE if one.c_type == "text" else np.dtype(USER_FIELD_FORMATS[one.c_type])


def _built_in_field(of: EventType, one: Field) -> tuple[np.dtype[Any], int]:
    c_type = ffi.typeof(f"struct mb_{of.struct}")
    offset = 0
    for member in one.path:
        found = dict(c_type.fields)[member]
        offset += found.offset
        c_type = found.type
    return _dtype(c_type), offset


@functools.cache
def row_dtype(of: EventType) -> np.dtype[Any]:
    """An entry with the payload of `of` laid flat into it, for columns over the worker's log.

    The payload's names win where the header has them too. Fields past the entry's own payload
    bytes are left out: they lie in a data ring.
    """
    entry = entry_dtype()
    fields: dict[str, tuple[np.dtype[Any], int]] = {}
    for name in entry.names or ():
        dtype, offset = entry.fields[name][:2]  # type: ignore[index]
        fields[name] = dtype, offset
    base = fields.pop("payload")[1]
    payload = payload_dtype(of)
    room = ffi.sizeof("union mb_payload")
    for name in payload.names or ():
        dtype, offset = payload.fields[name][:2]  # type: ignore[index]
        if offset + dtype.itemsize <= room:
            fields[name] = dtype, base + offset
    return np.dtype(
        {
            "names": list(fields),
            "formats": [dtype for dtype, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": entry.itemsize,
        }
    )
