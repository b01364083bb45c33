"""`Batch`: many events at once, as numpy columns over shared memory.

    @on_batch("packet")
    def count(self, batch):
        self.bytes += int(batch.wire_length.sum())

A column has one element an event. Where the events lie side by side in the log it is a view of
shared memory, else a copy; either way it may not be kept past the handler without `.copy()`.
In a replay batches end at fixed positions of the log, so they are the same every time.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbox._core import ffi, lib
from microbox.events.catalog import EventType
from microbox.ffi.layout import payload_layout
from microbox.ffi.views import entry_dtype, row_dtype
from microbox.nf.deliveries import Deliveries
from microbox.nf.errors import UsageError
from microbox.nf.event import Event
from microbox.nf.event_class import event_class

ENTRY_SIZE: int = ffi.sizeof("struct mb_entry")


class Batch:
    """The events of one call, in order. Columns: `sequence`, `time`, `packet`, `flow` (identity),
    `type`, `reason`, `flags`, `direction`, `frame_length`, `length` (the same), `data_length`,
    `snapshot`, and the payload's fields of the type that was subscribed to.

    `batch[i]` and iteration give the events themselves, one at a time.
    """

    def __init__(
        self, deliveries: Deliveries, of: EventType, indexes: NDArray[np.uint32], rows: Any
    ) -> None:
        """`rows`: the entries of these deliveries as an array of `row_dtype(of)`, or a pair of the
        whole log and the slots."""
        self.type = of
        self._deliveries = deliveries
        self._indexes = indexes
        self._rows = rows
        self._events: dict[int, Event] = {}

    def __len__(self) -> int:
        return len(self._indexes)

    def __getitem__(self, index: int) -> Event:
        """One event, as `@on` handlers get it; valid until the next one is asked for."""
        deliveries = self._deliveries
        deliveries.show(int(self._indexes[index]))
        entry = deliveries.entry
        event = self._events.get(entry.type)
        if event is None:
            event = event_class(deliveries.catalog.by_number(entry.type))(deliveries)
            self._events[entry.type] = event
        return event

    def __iter__(self) -> Iterator[Event]:
        return (self[index] for index in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        """A column."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "direction":
            return self._column("flags") & 1
        if name == "length" and "length" not in (one.name for one in self.type.fields):
            return self._column("frame_length")
        column = self._column(name)
        if column is not None:
            return column
        return self._far_column(name)

    def _column(self, name: str) -> Any:
        rows, slots = self._rows
        if name not in (rows.dtype.names or ()):
            return None
        return rows[name] if slots is None else rows[name][slots]

    def _far_column(self, name: str) -> Any:
        """A field that may lie in a data ring: read event by event. Texts come as a list."""
        for place in payload_layout(self.type).places:
            if place.field.name == name:
                values = [getattr(event, name) for event in self]
                is_text = place.format == "II"
                return values if is_text else np.array(values, dtype=place.format)
        names = [*(self._rows[0].dtype.names or ()), *(one.name for one in self.type.fields)]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise AttributeError(f"a batch of {self.type.name} has no column '{name}'{hint}")

    def indexes(self, rows: Any) -> NDArray[np.uint32]:
        """Of these rows (numbers, or a truth for each; None: all) among the poll's deliveries."""
        if rows is None:
            return self._indexes
        chosen = np.asarray(rows)
        if chosen.dtype != bool and chosen.size == 0:
            return self._indexes[:0]
        try:
            return np.ascontiguousarray(self._indexes[chosen])
        except IndexError as error:
            raise UsageError(f"rows of a batch of {len(self)}: {error}") from None

    def close(self) -> None:
        """Lets go of shared memory."""
        self._rows = None
        self._events.clear()


class BatchSelector:
    """Makes the batches of one handler: the deliveries of a poll that it subscribed to."""

    def __init__(
        self, deliveries: Deliveries, of: EventType, bits: int, types: list[int], log_slots: int
    ) -> None:
        """`of`: the nearest common ancestor of `types`; `types`: the set in words of 64 bits."""
        self._deliveries = deliveries
        self._of = of
        self._bits = bits
        self._types = ffi.new("uint64_t[]", types)
        self._log_slots = log_slots
        capacity = len(deliveries.array)
        self._indexes = np.empty(capacity, np.uint32)
        self._slots = np.empty(capacity, np.uint32)
        self._from_nfs = ffi.new("bool *")
        self._buffer: Any = None

    def select(self, count: int) -> Batch | None:
        """The batch of the last poll's `count` deliveries; None where there is nothing for it."""
        array = self._deliveries.array
        selected = lib.mb_select(
            array, count, self._bits, self._types, self._pointer(self._indexes), self._from_nfs
        )
        if not selected:
            return None
        indexes = self._indexes[:selected]
        rows = self._copies(indexes) if self._from_nfs[0] else self._in_log(indexes)
        return Batch(self._deliveries, self._of, indexes, rows)

    def was_kept(self) -> bool:
        """True when an array over shared memory lives on, after the batch was closed. All views
        of the buffer hold it."""
        # What else refers to the buffer: this attribute and the argument.
        kept = self._buffer is not None and sys.getrefcount(self._buffer) > 2  # noqa: PLR2004
        self._buffer = None
        return kept

    @staticmethod
    def _pointer(array: NDArray[np.uint32]) -> Any:
        return ffi.from_buffer("uint32_t[]", array)

    def _in_log(self, indexes: NDArray[np.uint32]) -> tuple[Any, Any]:
        count = len(indexes)
        base = lib.mb_gather_slots(
            self._deliveries.array,
            self._pointer(indexes),
            count,
            self._log_slots,
            self._pointer(self._slots),
        )
        slots = self._slots[:count]
        first, last = int(slots[0]), int(slots[-1])
        if last - first + 1 == count:
            start, length, chosen = base + first, count, None
        else:
            start, length, chosen = base, self._log_slots, slots
        self._buffer = ffi.buffer(start, length * ENTRY_SIZE)
        view = memoryview(self._buffer).toreadonly()
        return np.frombuffer(view, row_dtype(self._of)), chosen

    def _copies(self, indexes: NDArray[np.uint32]) -> tuple[Any, Any]:
        copies = np.empty(len(indexes), entry_dtype())
        lib.mb_gather_copies(
            self._deliveries.array,
            self._pointer(indexes),
            len(indexes),
            ffi.from_buffer("struct mb_entry[]", copies, require_writable=True),
        )
        return copies.view(row_dtype(self._of)), None
