"""Events that may be kept: each is a copy of an entry, of which it shows what an NF's event shows.

Copies are made by the block, of the entries, of what NFs' events carry beside, and of frames in
memory that is used again. All other frames are looked up in the mapped capture when they are asked
for. An event holds its block, so blocks are small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbox._core import ffi, lib
from microbox.ffi.views import entry_dtype
from microbox.nf.batch import Batch
from microbox.nf.deliveries import Deliveries
from microbox.nf.errors import UsageError
from microbox.nf.event import Event
from microbox.nf.event_class import event_class
from microbox.nf.flow import Flow
from microbox.nf.snapshot import Snapshot

BLOCK = 64  # events
PAYLOAD: int = ffi.offsetof("struct mb_entry", "payload")
NO_CALLS: dict[int, Any] = {}
NO_VIEWS: list[Any] = []
DELIVERY = np.dtype(
    {
        "names": ["entry", "nf_entry", "payload", "payload_length"],
        "formats": ["u8", "u8", "u8", "u4"],
        "offsets": [
            ffi.offsetof("struct mb_delivery", name)
            for name in ("entry", "nf_entry", "payload", "payload_length")
        ],
        "itemsize": ffi.sizeof("struct mb_delivery"),
    }
)


class Block:
    """Copies of some deliveries of a poll, and of all that they point at."""

    __slots__ = ("_entries", "_nf_entries", "_payloads", "deliveries", "frames")

    def __init__(self, deliveries: Deliveries, indexes: NDArray[np.uint32], stable: int) -> None:
        """`indexes` among the poll's deliveries; `stable`: where in the frame pool memory begins
        that is used again."""
        count = len(indexes)
        rows = np.frombuffer(ffi.buffer(deliveries.array), DELIVERY)[indexes]
        self._entries = np.empty(count, entry_dtype())
        lib.mb_gather_copies(
            deliveries.array,
            ffi.from_buffer("uint32_t[]", indexes),
            count,
            ffi.from_buffer("struct mb_entry[]", self._entries, require_writable=True),
        )
        if deliveries.sees_edits:
            self._show_edits(deliveries, indexes)
        self._nf_entries = ffi.new("struct mb_nf_entry[]", int((rows["nf_entry"] != 0).sum()))
        self._payloads: list[Any] = []
        self._own(rows)
        self.deliveries = ffi.new("struct mb_delivery[]", count)
        ffi.memmove(self.deliveries, rows.tobytes(), rows.nbytes)
        self.frames = self._frames(deliveries, stable)

    def _show_edits(self, deliveries: Deliveries, indexes: NDArray[np.uint32]) -> None:
        """Lets the copies name frames as earlier NFs left them."""
        assert deliveries.frame_of is not None
        for entry, index in zip(self._entries, indexes.tolist(), strict=True):
            seen = deliveries.frame_of(deliveries.array + index)
            entry["frame"] = seen.frame
            entry["frame_length"] = seen.frame_length
            entry["data_offset"] = seen.data_offset

    def types(self) -> list[int]:
        """Numbers of the entries' types."""
        numbers: list[int] = self._entries["type"].tolist()
        return numbers

    def _own(self, rows: NDArray[Any]) -> None:
        """Makes the rows point at the copies."""
        entries = int(ffi.cast("uintptr_t", ffi.from_buffer(self._entries)))
        rows["entry"] = entries + np.arange(len(rows)) * self._entries.itemsize
        is_from_nf = rows["nf_entry"] != 0
        rows["payload"][~is_from_nf] = rows["entry"][~is_from_nf] + PAYLOAD
        for copy, index in enumerate(np.flatnonzero(is_from_nf)):
            row = rows[index]
            length = int(row["payload_length"])
            payload = ffi.new("uint8_t[]", length)
            ffi.memmove(payload, ffi.cast("void *", int(row["payload"])), length)
            self._payloads.append(payload)
            own = self._nf_entries + copy
            ffi.memmove(own, ffi.cast("void *", int(row["nf_entry"])), ffi.sizeof(own[0]))
            row["payload"] = int(ffi.cast("uintptr_t", payload))
            row["nf_entry"] = int(ffi.cast("uintptr_t", own))

    def _frames(self, deliveries: Deliveries, stable: int) -> dict[int, bytes]:
        """Of datagrams that were put together from fragments, and of edited packets, by their
        offset in the pool."""
        frames = {}
        for entry in self._entries[self._entries["frame"] >= stable]:
            offset, length = int(entry["frame"]), int(entry["frame_length"])
            if offset + length <= deliveries.pool_size:
                frames[offset] = bytes(ffi.buffer(deliveries.pool + offset, length))
        return frames


class Keeper(Deliveries):
    """The one delivery that a kept event shows. Subclasses are made for a run: what all of its
    events have in common are members of the class."""

    __slots__ = ("block",)

    block: Block
    stable: int
    array = property(lambda keeper: keeper.block.deliveries)
    keeps_states = False
    is_at_rest = False
    edits = None
    rewrites = None
    sees_edits = False  # the copies show them
    switches = None

    def in_pool(self, offset: int, length: int) -> memoryview:
        """A copy of bytes of the frame pool."""
        if offset + length > self.pool_size:
            raise UsageError(
                f"the event's bytes lie outside the frame pool: [{offset}, {offset + length}) of "
                f"{self.pool_size}"
            )
        if offset < self.stable or not length:
            return memoryview(bytes(ffi.buffer(self.pool + offset, length)))
        begin, frame = next(
            (begin, frame)
            for begin, frame in self.block.frames.items()
            if begin <= offset and offset + length <= begin + len(frame)
        )
        return memoryview(frame)[offset - begin : offset - begin + length]

    def state_of(self, flow: int) -> Any:  # noqa: ARG002 (whatever the flow)
        """There is no NF."""
        raise UsageError("flow.state is what an NF keeps: events that are read have none")


def keeper_class(deliveries: Deliveries, stable: int) -> type[Keeper]:
    """For the events of one run."""
    members = {
        "__slots__": (),
        "catalog": deliveries.catalog,
        "pool": deliveries.pool,
        "pool_size": deliveries.pool_size,
        "stable": stable,
    }
    return type("Keeper", (Keeper,), members)


def kept_class(of: type[Event]) -> type[Event]:
    """The class of a type's events that may be kept: flow and snapshot are made when asked for."""

    def show(_event: Event, _deliveries: Deliveries) -> None:
        """Nothing is made before it is asked for."""

    def flow(event: Event) -> Flow:
        return Flow(event._deliveries, event._is_packet)

    def snapshot(event: Event) -> Snapshot:
        return Snapshot(event._deliveries)

    members = {
        "__slots__": (),
        "__doc__": of.__doc__,
        "__init__": show,
        "flow": property(flow, doc=Event.flow.__doc__),
        "snapshot": property(snapshot, doc=Event.snapshot.__doc__),
    }
    return type(of.__name__, (of,), members)


class Copier:
    """Copies the events of batches."""

    def __init__(self, stable: int) -> None:
        """`stable`: the size of the capture, behind which lies memory that is used again."""
        self._stable = stable
        self._classes: dict[int, type[Event]] = {}
        self._keeper: type[Keeper] | None = None

    def copies(self, batch: Batch) -> list[Event]:
        """The batch's events, copied."""
        deliveries = batch._deliveries
        if self._keeper is None:
            self._keeper = keeper_class(deliveries, self._stable)
        indexes = batch.indexes(None)
        copies: list[Event] = []
        for start in range(0, len(indexes), BLOCK):
            chosen = np.ascontiguousarray(indexes[start : start + BLOCK])
            copies += self._shown(Block(deliveries, chosen, self._stable), deliveries)
        return copies

    def _shown(self, block: Block, deliveries: Deliveries) -> Iterator[Event]:
        keeper_class, classes = self._keeper, self._classes
        assert keeper_class is not None
        address = int(ffi.cast("uintptr_t", block.deliveries))
        for index, number in enumerate(block.types()):
            keeper = keeper_class.__new__(keeper_class)
            keeper.block = block
            keeper.bind(address, 0, NO_CALLS, NO_CALLS, NO_VIEWS, None)
            keeper.show(index)
            shown = classes.get(number) or self._class_of(number, deliveries)
            yield shown(keeper)

    def _class_of(self, number: int, deliveries: Deliveries) -> type[Event]:
        made = kept_class(event_class(deliveries.catalog.by_number(number)))
        self._classes[number] = made
        return made
