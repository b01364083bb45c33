"""A stack that a test talks to."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import numpy as np

from microbox._core import ffi as core
from microbox._core import lib as core_library
from microbox.events.catalog import Catalog, built_in
from stack_driver.entries import Decoder, Entry
from stack_driver.hosts import Hosts, host_networks
from stack_driver.library import ffi, load
from stack_driver.packets import Frame, Layer, Packet

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND  # time of the first packet, nanoseconds since the epoch

AnyFrame = bytes | Frame | Packet | Layer
_FRAME = struct.Struct("<QQIII4x")
# The padding has a name, since numpy leaves out what has none where arrays are joined.
_RECORD = np.dtype(
    [
        ("offset", "u8"),
        ("time", "u8"),
        ("length", "u4"),
        ("wire_length", "u4"),
        ("link_type", "u4"),
        ("padding", "u4"),
    ]
)
_ENTRY_SIZE = core.sizeof("struct mb_entry")

# Small, so that thousands of stacks a second are feasible; a fixed key, so that runs are alike.
DEFAULTS: dict[str, Any] = {
    "flows_max": 64,
    "held_segments_max": 1024,
    "hash_key": [1, 2],
    "link_type": 1,
}


@dataclass(frozen=True)
class Subscription:
    """Who wants what: types with all below them, of what passes a filter in libpcap's syntax."""

    types: Sequence[str] = ("event",)
    filter: str = ""
    nf: int = 0
    bit: int = 0


@dataclass(frozen=True)
class Timer:
    """A period, in nanoseconds, that those with a bit of `mask` want to be told of."""

    period: int
    mask: int = 1


EVERYTHING = (Subscription(),)


@functools.lru_cache(256)
def _subscriptions(decoder: Decoder, wanted: tuple[Subscription, ...]) -> tuple[Any, list[Any]]:
    """The C array, and what it points to."""
    catalog = decoder.catalog
    array = core.new("struct mb_subscription[]", len(wanted))
    kept = []
    for one, place in zip(wanted, array, strict=True):
        place.nf = one.nf
        place.bit = one.bit
        kept.append(core.new("char[]", one.filter.encode()))
        place.filter = kept[-1]
        for name in one.types:
            for each in catalog.descendants(catalog.resolve(name)):
                place.types[each.number // 64] |= 1 << each.number % 64
    return array, kept


def _timers(wanted: Sequence[Timer]) -> Any:
    array = core.new("struct mb_timer_subscription[]", max(len(wanted), 1))
    for one, place in zip(wanted, array, strict=False):
        place.period = one.period
        place.mask[0] = one.mask & (1 << 64) - 1
        place.mask[1] = one.mask >> 64
    return array


def _number(pointer: Any) -> int:
    return int(core.cast("uintptr_t", pointer))


@dataclass(frozen=True)
class Packed:
    """Many frames as the stack takes them: their bytes, and where each lies in them and when it
    came (an array of struct mb_frame)."""

    data: bytes
    records: np.ndarray[Any, Any]

    @classmethod
    def of_rows(cls, rows: np.ndarray[Any, Any], time: int) -> Packed:
        """Frames of one length, a row of bytes each, all at the same time."""
        count, length = rows.shape
        records = np.zeros(count, _RECORD)
        records["offset"] = np.arange(count) * length
        records["time"] = time
        records["length"] = records["wire_length"] = length
        records["link_type"] = 1
        return cls(np.ascontiguousarray(rows, "u1").tobytes(), records)

    @classmethod
    def of_frames(cls, frames: Iterable[Frame]) -> Packed:
        """Frames that all have a time."""
        taken = list(frames)
        records = np.zeros(len(taken), _RECORD)
        lengths = np.array([len(one.data) for one in taken], "u8")
        records["offset"] = np.cumsum(lengths) - lengths
        records["time"] = [one.time or 0 for one in taken]
        records["length"] = lengths
        records["wire_length"] = np.maximum(lengths, [one.wire_length for one in taken])
        records["link_type"] = [one.link_type for one in taken]
        return cls(b"".join(one.data for one in taken), records)

    def __add__(self, other: Packed) -> Packed:
        moved = other.records.copy()
        moved["offset"] += len(self.data)
        return Packed(self.data + other.data, np.concatenate([self.records, moved]))

    def workers(self, count: int) -> np.ndarray[Any, Any]:
        """Which of `count` workers each frame is for."""
        worker = np.zeros(len(self.records), "u4")
        load().stack_driver_share_out(
            ffi.from_buffer(self.data),
            ffi.from_buffer(self.records.tobytes()),
            len(self.records),
            count,
            ffi.cast("uint32_t *", worker.ctypes.data),
        )
        return worker


class Stack:
    """One C stack. Keywords beside the named ones are fields of struct mb_stack_config; enums by
    number or by what follows their prefix (checksums="drop")."""

    _idle: list[Any] = []  # noqa: RUF012 (drivers that no stack uses: shared on purpose)

    def __init__(
        self,
        subscriptions: Iterable[Subscription] = EVERYTHING,
        timers: Sequence[Timer] = (),
        *,
        batch: int = 256,
        catalog: Catalog | None = None,
        hosts: Sequence[Hosts] = (),
        **config: Any,
    ) -> None:
        self._library = load()
        self._decoder = Decoder(catalog) if catalog else _of_built_in()
        self._batch = batch
        self._entries: list[Entry] = []
        self._taken: list[tuple[bytes, list[int], bytes]] = []  # not decoded yet
        self._copied = 0
        self._counted: Any = None
        self._finished = False
        self.time = START  # of the next packet
        self.spacing = MILLISECOND  # between packets that name no time of their own
        self.packets = 0
        self._config = core.new("struct mb_stack_config *", _with_enums(DEFAULTS | config))
        self._hosts = host_networks(hosts)
        self._config.hosts = self._hosts
        self._config.host_count = len(hosts)
        wanted = tuple(subscriptions)
        self._wanted, self._kept = _subscriptions(self._decoder, wanted)
        self._timers = _timers(timers)
        self._driver = Stack._idle.pop() if Stack._idle else self._library.stack_driver_create()
        error = ffi.new("char[256]")
        status = self._library.stack_driver_open(
            self._driver,
            _number(self._config),
            _number(self._wanted),
            len(wanted),
            _number(self._timers),
            len(timers),
            error,
        )
        if status != 0:
            Stack._idle.append(self._driver)
            raise ValueError(ffi.buffer(error)[:].partition(b"\0")[0].decode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the stack. What it published and counted stays."""
        if self._driver is None:
            return
        self._take()
        self._counted = core.new("struct mb_stack_counters *", self._counters()[0])
        self._library.stack_driver_close(self._driver)
        Stack._idle.append(self._driver)
        self._driver = None

    # --- in ---

    def send(self, *frames: AnyFrame) -> None:
        """Hands frames over, `batch` at a time, each `spacing` after the one before."""
        records, parts, at = [], [], 0
        for one in frames:
            frame = one if isinstance(one, Frame) else Frame(bytes(one))
            if frame.time is not None:
                self.time = frame.time
            length = len(frame.data)
            records.append(
                _FRAME.pack(at, self.time, length, max(frame.wire_length, length), frame.link_type)
            )
            parts.append(frame.data)
            at += length
            self.time += self.spacing
        self._send(b"".join(parts), b"".join(records), len(frames))

    def send_packed(self, frames: Packed) -> None:
        """Hands over frames that were packed before, at their own times."""
        self._send(frames.data, frames.records.tobytes(), len(frames.records))

    def flood(self, rows: np.ndarray[Any, Any]) -> None:
        """Hands over many frames of one length, a row each, all at the same time."""
        self.send_packed(Packed.of_rows(rows, self.time))

    def _send(self, data: bytes, records: bytes, count: int) -> None:
        self.packets += count
        status = self._library.stack_driver_send(
            self._driver, ffi.from_buffer(data), ffi.from_buffer(records), count, self._batch
        )
        if status != 0:
            raise MemoryError("the stack driver's buffers are full")

    def advance(self, nanoseconds: int) -> None:
        """Lets time pass before the next packet."""
        self.time += nanoseconds

    def finish(self) -> None:
        """The input is over."""
        if not self._finished and self._library.stack_driver_finish(self._driver) != 0:
            raise MemoryError("the stack driver's buffers are full")
        self._finished = True

    # --- out ---

    @property
    def entries(self) -> list[Entry]:
        """Everything published so far."""
        self._take()
        while self._taken:
            self._entries += self._decoder.decode(*self._taken.pop(0))
        return self._entries

    def _take(self) -> None:
        """Copies from the driver what was published since the last time."""
        if self._driver is None:
            return
        driver, library = self._driver, self._library
        first, end = self._copied, library.stack_driver_count(driver)
        if first == end:
            return
        self._copied = end
        raw = library.stack_driver_entries(driver) + first * _ENTRY_SIZE
        starts = library.stack_driver_data_starts(driver)[first:end]
        begin = starts[0]
        size = library.stack_driver_data_size(driver) - begin
        data = ffi.buffer(library.stack_driver_data(driver) + begin, size)[:]
        whole = ffi.buffer(raw, (end - first) * _ENTRY_SIZE)[:]
        self._taken.append((whole, [start - begin for start in starts], data))

    def events(self, *names: str, flow: int | None = None) -> list[Entry]:
        """The entries of these types and all below them; of one flow where it is named."""
        wanted = self._decoder.names_below(names)
        return [one for one in self.entries if one.type in wanted and flow in (None, one.flow)]

    def stream(self, direction: int, flow: int | None = None) -> list[bytes | int]:
        """One side's stream as published: bytes, and the length of each gap. Neighbouring bytes
        are one. Offsets are checked."""
        pieces: list[bytes | int] = []
        position: dict[int, int] = {}
        for one in self.events("tcp.data", "tcp.gap", flow=flow):
            if one.direction != direction:
                continue
            is_gap = one.type == "flow.tcp.gap"
            assert one.offset == position.get(one.flow, 0), f"{one} is not next"
            length = one.length if is_gap else len(one.data)
            position[one.flow] = one.offset + length
            last = pieces[-1] if pieces else None
            if not is_gap and isinstance(last, bytes):
                pieces[-1] = last + one.data
            else:
                pieces.append(length if is_gap else one.data)
        return pieces

    def bytes_of(self, direction: int, flow: int | None = None) -> bytes:
        """One side's bytes; it has no gap."""
        pieces = self.stream(direction, flow)
        assert all(isinstance(piece, bytes) for piece in pieces), f"there are gaps: {pieces}"
        return b"".join(piece for piece in pieces if isinstance(piece, bytes))

    @property
    def counters(self) -> SimpleNamespace:
        """The rows of counters.def."""
        counters = self._counters()
        fields = core.typeof("struct mb_stack_counters").fields
        rows = [name for name, one in fields if one.type.kind == "primitive"]
        return SimpleNamespace(**{name: getattr(counters, name) for name in rows})

    @property
    def reasons(self) -> dict[str, int]:
        """How often each reason was counted, those with 0 left out."""
        counted = self._counters().by_reason
        return {
            name: counted[number]
            for number, name in enumerate(self._decoder.reasons)
            if counted[number]
        }

    @property
    def published(self) -> dict[str, int]:
        """How many entries of each type were published, those with 0 left out."""
        counted = self._counters().published_by_type
        return {
            one.name: counted[one.number]
            for one in self._decoder.catalog.types
            if counted[one.number]
        }

    def _counters(self) -> Any:
        if self._driver is None:
            return self._counted
        address = self._library.stack_driver_counters(self._driver)
        return core.cast("struct mb_stack_counters *", address)


@functools.cache
def _of_built_in() -> Decoder:
    return Decoder(built_in())


def _with_enums(config: Mapping[str, Any]) -> dict[str, Any]:
    """Words for enums become their numbers: checksums="drop" is MB_CHECKSUMS_DROP."""
    fields = dict(core.typeof("struct mb_stack_config").fields)
    return {
        name: _enumerator(name, fields[name].type, value) if isinstance(value, str) else value
        for name, value in config.items()
    }


def _enumerator(name: str, of: Any, word: str) -> int:
    if of.kind != "enum":
        return int(getattr(core_library, f"MB_{name}_{word}".upper()))
    (number,) = (number for number, one in of.elements.items() if one.endswith(f"_{word}".upper()))
    return int(number)


def run(
    frames: Iterable[AnyFrame],
    subscriptions: Iterable[Subscription] = EVERYTHING,
    timers: Sequence[Timer] = (),
    **config: Any,
) -> Stack:
    """A stack that has handled all frames, then the end of the input. Keywords as of `Stack`."""
    with Stack(subscriptions, timers, **config) as stack:
        stack.send(*frames)
        stack.finish()
    return stack
