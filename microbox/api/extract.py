"""Columns of a batch: copies, in the words of people (times, addresses, reasons).

An `Extractor` is made for one type and the columns that are wanted of it, and then turns each batch
into `Columns`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbox._core import ffi
from microbox.api.columns import Column, Columns, objects
from microbox.events.catalog import Catalog, EventType
from microbox.ffi.layout import PAYLOAD_SIZE, Place, payload_layout
from microbox.nf.batch import Batch
from microbox.nf.errors import UsageError
from microbox.nf.notation import IPV4_MAPPED, address_text
from microbox.nf.snapshot import TcpState

TIME = np.dtype("datetime64[ns]")
SIDES = ("originator", "responder")
SIDE_FIELDS = tuple(name for name, _ in ffi.typeof("struct mb_side").fields)
HEAD = ("time", "packet", "flow", "direction", "reason")
"""What each row begins with, unless columns are named."""
ON_DEMAND = ("type", "sequence", "frame_length", "data_length", "data", "frame")
"""What there is beside, by name."""
MAPPED = np.frombuffer(IPV4_MAPPED, "u1")

Read = Callable[[Batch], Column]


class Extractor:
    """Makes the columns of a type's events, and of those of the types below it."""

    def __init__(self, of: EventType, catalog: Catalog, wanted: Sequence[str] | None) -> None:
        """`wanted`: names of columns; None: `HEAD` and the fields of the payload, with `type` where
        there may be several. Raises ValueError for a name that there is not."""
        self._of = of
        self._catalog = catalog
        self._reasons = objects([one.name for one in catalog.reasons])
        self._types = objects([one.name for one in catalog.types])
        self._readers = self._all_readers()
        self._texts = {name for name in self._readers if name in self._far_places()}
        self.names = self._chosen(wanted)

    def columns(self, batch: Batch) -> Columns:
        """Of all events of the batch, copied."""
        far = self._far_columns(batch)
        return Columns(
            {name: far[name] if name in far else self._readers[name](batch) for name in self.names},
            type_name=self._of.name,
        )

    def nothing(self) -> Columns:
        """The same columns without rows. They have the dtypes that rows would give them."""
        return Columns(
            {name: np.empty(0, self._dtype(name)) for name in self.names},
            type_name=self._of.name,
        )

    def _chosen(self, wanted: Sequence[str] | None) -> tuple[str, ...]:
        fields = [one.name for one in self._of.fields]
        if wanted is None:
            several = len(self._catalog.delivered(self._of)) > 1
            head = [HEAD[0], *(["type"] if several else []), *HEAD[1:]]
            return tuple(dict.fromkeys([*head, *fields]))
        for name in wanted:
            if name not in self._readers:
                near = difflib.get_close_matches(name, self._readers, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"{', '.join(self._readers)}"
                raise ValueError(f"'{name}' is no column of {self._of.name}; {hint}")
        return tuple(dict.fromkeys(wanted))

    # --- what a column is made of ---

    def _all_readers(self) -> dict[str, Read]:
        readers: dict[str, Read] = {
            "time": lambda batch: _times(batch.time),
            "type": lambda batch: self._types[batch._column("type")],
            "packet": lambda batch: np.array(batch.packet),
            "flow": lambda batch: np.array(batch.flow),
            "direction": lambda batch: np.array(batch.direction),
            "reason": lambda batch: self._reasons[batch.reason],
            "sequence": lambda batch: np.array(batch.sequence),
            "frame_length": lambda batch: np.array(batch.frame_length),
            "data_length": lambda batch: np.array(batch.data_length),
            "data": _data,
            "frame": _frames,
        }
        for place in payload_layout(self._of).places:
            readers.setdefault(place.field.name, _field_reader(place))
        for index, side in enumerate(SIDES):
            for name in SIDE_FIELDS:
                readers[f"{side}_{name}"] = _side_reader(index, name)
        return readers

    def _far_places(self) -> set[str]:
        """Fields that lie in an NF's data ring."""
        return {
            place.field.name
            for place in payload_layout(self._of).places
            if place.format == "II" or place.offset + place.size > PAYLOAD_SIZE
        }

    def _far_columns(self, batch: Batch) -> dict[str, Column]:
        """Those of the data ring that are wanted, with one look at each event."""
        names = [name for name in self.names if name in self._texts]
        if not names:
            return {}
        rows = [[getattr(event, name) for name in names] for event in batch]
        return {
            name: _typed(values, self._dtype(name))
            for name, values in zip(names, zip(*rows, strict=True), strict=True)
        }

    def _dtype(self, name: str) -> np.dtype[Any]:
        if name == "time":
            return TIME
        numbers = {"packet": "u8", "flow": "u8", "sequence": "u8", "direction": "u1"}
        numbers |= {"frame_length": "u4", "data_length": "u4"}
        if name in numbers:
            return np.dtype(numbers[name])
        for side in SIDES:
            if name.startswith(f"{side}_") and name != f"{side}_state":
                members = dict(ffi.typeof("struct mb_side").fields)
                return np.dtype(f"u{ffi.sizeof(members[name.removeprefix(f'{side}_')].type)}")
        for place in payload_layout(self._of).places:
            if place.field.name == name and _is_number(place):
                return TIME if place.field.is_time else np.dtype(place.format)
        return np.dtype(object)


def _is_number(place: Place) -> bool:
    return place.format not in ("II", "16s") and place.field.owner != "tcp_state_change"


def _typed(values: Sequence[Any], dtype: np.dtype[Any]) -> Column:
    return objects(values) if dtype.hasobject else np.array(values, dtype)


def _field_reader(place: Place) -> Read:
    """Of a field that lies in the entry."""
    name = place.field.name
    if place.format == "16s":
        return lambda batch: addresses(batch._column(name))
    if place.field.is_time:
        return lambda batch: _times(batch._column(name))
    if place.field.owner == "tcp_state_change":
        return lambda batch: STATES[np.minimum(batch._column(name), len(STATES) - 1)]
    return lambda batch: np.array(batch._column(name))


def _side_reader(index: int, name: str) -> Read:
    if name == "state":
        return lambda batch: STATES[np.minimum(_side(batch, index)[name], len(STATES) - 1)]
    return lambda batch: np.array(_side(batch, index)[name])


def _side(batch: Batch, index: int) -> NDArray[Any]:
    side: NDArray[Any] = batch._column("snapshot")["side"][:, index]
    return side


def _data(batch: Batch) -> Column:
    if batch._deliveries.sees_edits:
        return objects([bytes(event.data) for event in batch])
    begins = batch._column("frame") + batch._column("data_offset")
    return _bytes(batch, begins, batch.data_length)


def _frames(batch: Batch) -> Column:
    if batch._deliveries.sees_edits:
        return objects([bytes(event.frame) for event in batch])
    return _bytes(batch, batch._column("frame"), batch.frame_length)


def _bytes(batch: Batch, offsets: NDArray[Any], lengths: NDArray[Any]) -> Column:
    """Copies of ranges of the frame pool. Raises UsageError where one is not in it."""
    deliveries = batch._deliveries
    ends = offsets.astype(np.uint64) + lengths
    if len(ends) and int(ends.max()) > deliveries.pool_size:
        raise UsageError("an event's bytes lie outside the frame pool")
    pool = ffi.buffer(deliveries.pool, deliveries.pool_size)
    ranges = zip(offsets.tolist(), ends.tolist(), strict=True)
    return objects([pool[begin:end] for begin, end in ranges])


def _times(nanoseconds: NDArray[np.uint64]) -> Column:
    return np.array(nanoseconds).view(TIME)


def addresses(octets: NDArray[np.uint8]) -> Column:
    """Addresses of 16 bytes a row, as texts; equal ones are one object."""
    if not len(octets):
        return objects([])
    if (octets[:, :12] == MAPPED).all():
        keys: NDArray[Any] = np.ascontiguousarray(octets[:, 12:]).view("u4").ravel()
        prefix = IPV4_MAPPED
    else:
        keys = np.ascontiguousarray(octets).view("V16").ravel()
        prefix = b""
    distinct, which = np.unique(keys, return_inverse=True)
    texts: Column = objects([address_text(prefix + one.tobytes()) for one in distinct])[which]
    return texts


STATES = objects([state.name for state in TcpState])
