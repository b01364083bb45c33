"""numpy's view of the shared structs, made from cffi's: nothing is declared here.

Names are the headers' own. Padding is left out. All integers are in host byte order.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from microbox._core import ffi
from microbox.events.catalog import EventType
from microbox.ffi.layout import PAYLOAD_SIZE, Place, payload_layout

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

    Addresses are 16 bytes; texts are `offset` and `length`.
    """
    layout = payload_layout(of)
    return np.dtype(
        {
            "names": [place.field.name for place in layout.places],
            "formats": [_field_dtype(place) for place in layout.places],
            "offsets": [place.offset for place in layout.places],
            "itemsize": layout.size,
        }
    )


def _field_dtype(place: Place) -> np.dtype[Any]:
    if place.format == "II":
        return TEXT_DTYPE
    if place.format == "16s":
        return np.dtype(("u1", (16,)))
    return np.dtype(place.format)


@functools.cache
def row_dtype(of: EventType) -> np.dtype[Any]:
    """An entry with the payload of `of` laid flat into it, for columns over the worker's log.

    The payload's names win where the header has them too. Left out is what lies in a data ring:
    texts, and fields past the entry's own payload bytes.
    """
    entry = entry_dtype()
    fields: dict[str, tuple[np.dtype[Any], int]] = {}
    for name in entry.names or ():
        dtype, offset = entry.fields[name][:2]  # type: ignore[index]
        fields[name] = dtype, offset
    base = fields.pop("payload")[1]
    payload = payload_dtype(of)
    for name in payload.names or ():
        dtype, offset = payload.fields[name][:2]  # type: ignore[index]
        if dtype != TEXT_DTYPE and offset + dtype.itemsize <= PAYLOAD_SIZE:
            fields[name] = dtype, base + offset
    return np.dtype(
        {
            "names": list(fields),
            "formats": [dtype for dtype, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": entry.itemsize,
        }
    )
