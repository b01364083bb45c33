"""An NF's end of the bus: the C reader with its areas, descriptors and checks.

What may go wrong with memory that other processes sent is said in a sentence, as `BusError`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from microbox._core import ffi, lib
from microbox.channel.geometry import geometry_of
from microbox.channel.messages import Bit, Configure, Map, Neighbour, WorkerDerivedType
from microbox.nf.derivations import Derivations, set_of
from microbox.nf.errors import UsageError
from microbox.nf.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CAPACITY = 4096  # deliveries of one poll; at least 2 * MB_ENTRIES_PER_PACKET


EDIT_REFUSED = {
    errno.ENOENT: "edit: this event is not about a packet: edit at packet.* events, or at those of "
    "a flow that carry bytes",
    errno.EXDEV: "edit: this event was published with another packet than its own, since its "
    "publisher takes batches: edit at the packet's own event",
    errno.E2BIG: "edit: too much for one event: at most 2 VLAN tags are pushed, 8 popped, and "
    "bytes replaced in 64 places",
    errno.ENOBUFS: "edit: more bytes are replaced than there is room for with one packet, or one "
    "batch: replace fewer at a time",
    errno.EINTR: "edit: the run was cancelled",
}


class BusError(RuntimeError):
    """Memory that should be shared cannot be."""


class BrokenLogError(BusError):
    """Another NF's log is broken. That is not this NF's fault, and it goes on without."""


def poll_error(error: int, broken: str) -> BusError:
    """Why a poll failed: -errno, and the name of the NF whose log is broken."""
    if error == -errno.EPROTO:
        return BrokenLogError(
            f"what {broken} publishes is not what it should be; its events are left out now"
        )
    return BusError(f"the log cannot be read: {os.strerror(-error)}")


def name_of(names: Sequence[str], index: int) -> str:
    """Of an NF; one that came later is only known by its number."""
    return names[index] if index < len(names) else f"NF {index}"


def severity_of(error: BusError) -> str:
    """Of the problem that is reported: what another NF did ends nothing."""
    return "warning" if isinstance(error, BrokenLogError) else "error"


class Reader:
    """One NF's reader. `deliveries` holds what the last poll brought, until `advance`."""

    def __init__(self, configure: Configure) -> None:
        """Makes the NF's own sealed area. Raises BusError."""
        bits = configure.bits
        config = ffi.new("struct mb_reader_config *")
        config.nf = configure.index
        config.log_slots = configure.shape.log_slots
        config.geometry = geometry_of(configure.shape)[0]
        config.subscriptions = len(bits)
        config.cut = configure.cut
        config.command_delay = configure.command_delay
        config.instance, config.instances = configure.share.index, configure.share.count
        config.streams = set_of(configure.streams)
        config.skips = configure.skips
        config.loses = set_of(configure.loses)
        config.wait_policy = lib.mb_wait_policy_default()
        self._describe_bits(config, bits)
        error = ffi.new("int *")
        self._reader = lib.mb_reader_create(config, error)
        if self._reader == ffi.NULL:
            raise BusError(f"the NF's area cannot be made: {os.strerror(-error[0])}")
        self._skips = configure.skips
        self._derivations: Derivations | None = None
        self.log_slots = configure.shape.log_slots
        self.deliveries = ffi.new("struct mb_delivery[]", CAPACITY)
        self.counters = lib.mb_reader_counters(self._reader)
        self.cancelled = ffi.new("bool *", False)
        self.pool = ffi.NULL  # const uint8_t *, where frames begin
        self.pool_size = 0
        self._shared_pool: Any = None
        self._broken = ffi.new("uint32_t *")
        self._names = [*configure.names, *["?"] * lib.MB_NFS_MAX]
        if configure.derives:
            self.derive(configure.derives)

    @staticmethod
    def _describe_bits(config: Any, bits: list[Bit]) -> None:
        for k, one in enumerate(bits):
            config.bit[k] = one.bit
            config.switchable |= one.may_switch << k
            for word, value in enumerate(set_of(one.types)):
                config.types[k][word] = value

    @property
    def handle(self) -> Any:
        """The struct mb_reader *, for a loop in C."""
        return self._reader

    @property
    def area_fd(self) -> int:
        """Descriptor of the own area; stays the reader's."""
        return int(lib.mb_reader_area_fd(self._reader))

    def map_log(self, fd: int) -> None:
        """Maps the worker's log. Does not take `fd`."""
        self._check(lib.mb_reader_map_log(self._reader, fd), "the worker's log")

    def map_pool(self, mapping: Map, capture: int, assembled: int, versions: int = -1) -> None:
        """Maps the frame pool: the capture (or what libpcap made of it), behind it the datagrams
        that were put together from fragments, then the versions of frames that NFs edited. Takes
        no descriptor."""
        shape = ffi.new("struct mb_versions_shape *")
        shape.editors = mapping.editors
        shape.log_slots = self.log_slots
        shape.ring_bytes = mapping.version_bytes
        parts = (
            (capture, mapping.pool_size, mapping.is_window),
            (assembled, mapping.assembled_size, False),
            (versions, lib.mb_versions_size(shape), False),
        )
        pool = self._mapped_pool(parts)
        if self._skips:  # what may be used again it reads from memory of its own
            self._shared_pool = self._mapped_pool(parts)
            result = lib.mb_reader_copy_frames(self._reader, self._shared_pool, pool)
            self._check(result, "the frame pool")
        if mapping.editors:
            result = lib.mb_reader_use_versions(self._reader, pool, shape)
            self._check(result, "the versions of edited frames")
        # Unmapped when nothing refers to its bytes any more.
        self.pool = ffi.gc(pool.bytes, lambda _: lib.mb_frame_pool_unmap(pool))
        self.pool_size = int(pool.size)
        self._show_pool()

    def derive(self, types: Sequence[WorkerDerivedType]) -> None:
        """All that is derived, from now on, from what the NF publishes."""
        self._derivations = Derivations(types, self._reader)
        self._show_pool()

    def _show_pool(self) -> None:
        if self._derivations is not None and self.pool_size:
            self._derivations.use_pool(self.pool, self.pool_size)

    def _mapped_pool(self, parts: tuple[tuple[int, int, bool], ...]) -> Any:
        """`parts`: descriptors, sizes, and whether it is a window."""
        pool = ffi.new("struct mb_frame_pool *")
        result = lib.mb_frame_pool_map(pool, *parts)
        self._check(result, "the frame pool")
        return pool

    def map_neighbour(self, one: Neighbour, fd: int) -> None:
        """Maps another NF's area. Does not take `fd`."""
        neighbour = ffi.new("struct mb_neighbour *")
        neighbour.index = one.index
        neighbour.fd = fd
        neighbour.geometry = geometry_of(one.shape)[0]
        for bit in one.bits:
            neighbour.mask[bit // 64] |= 1 << (bit % 64)
        neighbour.barrier = one.barrier
        neighbour.publishes = one.publishes
        neighbour.skips = one.skips
        neighbour.is_shadow = one.is_shadow
        neighbour.cut = one.cut
        result = lib.mb_reader_map_neighbour(self._reader, neighbour)
        self._check(result, f"the area of NF {one.index}")

    @staticmethod
    def _check(result: int, what: str) -> None:
        if result == -errno.EPERM:
            raise BusError(f"{what} is not sealed: somebody else could write it")
        if result < 0:
            raise BusError(f"{what} cannot be mapped: {os.strerror(-result)}")

    def poll(self, timeout_ns: int) -> int:
        """Waits for deliveries and returns how many there are. Raises BusError once for an NF
        whose log is broken; its events are left out from then on."""
        count = lib.mb_reader_poll(
            self._reader, self.deliveries, CAPACITY, timeout_ns, self._broken
        )
        if count < 0:
            raise poll_error(count, name_of(self._names, self._broken[0]))
        return int(count)

    def advance(self) -> None:
        """All of the last poll is done."""
        lib.mb_reader_advance(self._reader)

    @property
    def is_inside_packet(self) -> bool:
        """True when the last poll stopped inside a packet."""
        return bool(lib.mb_reader_is_inside_packet(self._reader))

    def read_to_the_end(self, gone: Sequence[int]) -> None:
        """The worker is gone, and so are the NFs with these indexes."""
        lib.mb_reader_worker_is_gone(self._reader)
        for index in gone:
            lib.mb_reader_nf_is_gone(self._reader, index)

    @property
    def is_at_end(self) -> bool:
        """True when the worker is gone and all that there was is done."""
        return bool(lib.mb_reader_is_at_end(self._reader))

    def hold_batch(self, at: int) -> None:
        """All of the last poll stays valid; publications are made from position `at`."""
        lib.mb_reader_set_batch_position(self._reader, at)

    def judge(self, delivery: Any, verdict: Verdict) -> Verdict:
        """The verdict on a delivery (struct mb_delivery *) of the last poll. Returns the one that
        was taken: DROP_FLOW for DROP on an event of a stream."""
        return Verdict(lib.mb_reader_judge_delivery(self._reader, delivery, int(verdict)))

    def command(self, cause: Any, kind: int, subscriptions: int, sides: int) -> None:
        """Tells the stack what is wanted of the flow of the delivery `cause`."""
        result = lib.mb_reader_command(self._reader, cause, kind, subscriptions, sides)
        if result == -errno.ENOBUFS:
            raise UsageError("too many commands about flows: more than four a packet")
        if result < 0:
            raise UsageError(f"a command about the flow is refused: {os.strerror(-result)}")

    @property
    def sees_edits(self) -> bool:
        """True where NFs that edit packets stand before this one."""
        return bool(lib.mb_reader_sees_edits(self._reader))

    def frame_of(self, delivery: Any) -> Any:
        """The frame of a delivery (struct mb_delivery *) of the last poll as this NF is to see it:
        a struct mb_seen_frame."""
        return lib.mb_reader_frame(self._reader, delivery)

    def edit(self, cause: Any, record: Any) -> None:
        """Edits the packet of the delivery `cause` as the struct mb_edit * says."""
        self._check_edit(lib.mb_reader_edit(self._reader, cause, record))

    def replace(self, cause: Any, at: int, data: bytes) -> None:
        """Replaces bytes of the delivery's event, those from `at` on."""
        self._check_edit(
            lib.mb_reader_replace(self._reader, cause, at, data, len(data), self.cancelled)
        )

    @staticmethod
    def _check_edit(result: int) -> None:
        if result < 0:
            raise UsageError(EDIT_REFUSED.get(-result) or f"edit: {os.strerror(-result)}")

    def rewrite(self, cause: Any, record: Any) -> None:
        """Translates the flow of the delivery `cause`, as the struct mb_rewrite * says."""
        result = lib.mb_reader_rewrite(self._reader, cause, record)
        if result == -errno.ENOENT:
            raise UsageError(
                "flow.rewrite: this event is not about a packet of its flow, which has ended or is "
                "only spoken of: rewrite a flow at its start"
            )
        if result == -errno.EXDEV:
            raise UsageError(
                "flow.rewrite: this event was published with a packet of another flow, since its "
                "publisher takes batches: rewrite a flow at its start"
            )
        if result < 0:
            raise UsageError(f"flow.rewrite is refused: {os.strerror(-result)}")

    def set_position(self, at: int) -> None:
        """Publications are made from position `at` of the worker's log."""
        lib.mb_reader_set_position(self._reader, at)

    def publish(self, cause: Any, type_number: int, type_name: str, payload: bytearray) -> None:
        """Publishes an event that the delivery `cause` caused."""
        result = lib.mb_reader_publish(
            self._reader,
            cause,
            type_number,
            0,
            ffi.from_buffer(payload),
            len(payload),
            self.cancelled,
        )
        if result < 0:
            raise UsageError(self._refused(result, type_name, len(payload)))

    def publish_many(
        self,
        causes: NDArray[np.uint32],
        lengths: NDArray[np.uint32],
        payloads: Any,
        of: tuple[int, str],
    ) -> None:
        """Publishes events of one type (number and name). `causes`: indexes of the last poll's
        deliveries; `payloads`: their bytes, one behind the other, of these `lengths`."""
        many = ffi.new("struct mb_publications *")
        many.type, name = of
        many.count = len(causes)
        many.causes = ffi.from_buffer("uint32_t[]", causes)
        many.lengths = ffi.from_buffer("uint32_t[]", lengths)
        many.payloads = ffi.from_buffer("uint8_t[]", payloads)
        published = ffi.new("uint32_t *")
        result = lib.mb_reader_publish_many(self._reader, many, self.cancelled, published)
        if result < 0:
            why = self._refused(result, name, int(lengths[published[0]]))
            raise UsageError(f"{why} ({published[0]} of {len(causes)} were published)")

    @staticmethod
    def _refused(result: int, type_name: str, length: int) -> str:
        reasons = {
            errno.ENOBUFS: "too many publications for one event",
            errno.EMSGSIZE: f"its payload of {length:,} bytes is more than a quarter of the ring",
            errno.EPERM: "this NF declared no publications: name the type in `publishes`",
            errno.EINTR: "the run was cancelled",
        }
        return f"publish('{type_name}'): {reasons.get(-result, os.strerror(-result))}"

    def close(self) -> None:
        """Unmaps everything. No view may be used afterwards."""
        if self._reader != ffi.NULL:
            lib.mb_reader_destroy(self._reader)
            self._reader = ffi.NULL
            if self._shared_pool is not None:
                lib.mb_frame_pool_unmap(self._shared_pool)
