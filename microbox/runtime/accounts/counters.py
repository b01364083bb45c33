"""What worker and NFs count, read from pages that they alone write.

The pages are mapped read-only after their seals and size were checked, and outlive the processes
that wrote them. A reading may catch a batch half copied; after the end of a process it is exact.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from microbox._core import ffi, lib
from microbox.channel.geometry import geometry_of
from microbox.channel.messages import AreaShape

CAPS = {lib.MB_CAP_FLOWS: "flows", lib.MB_CAP_HELD: "held", lib.MB_CAP_FRAGMENTS: "fragments"}
POLICIES = {
    lib.MB_AT_CAP_EVICT: "evict",
    lib.MB_AT_CAP_DROP_PACKET: "drop-packet",
    lib.MB_AT_CAP_DROP_FLOW: "drop-flow",
    lib.MB_AT_CAP_BYPASS: "bypass",
    lib.MB_AT_CAP_PASS: "pass",
}
VERDICT_NAMES = {
    lib.MB_DROP: "drop",
    lib.MB_DROP_FLOW: "drop_flow",
    lib.MB_PASS_FLOW: "pass_flow",
    lib.MB_RESET: "reset",
}

ROWS = [
    name
    for name, field in ffi.typeof("struct mb_stack_counters").fields
    if field.type.kind == "primitive"
]
ROWS_SIZE = ffi.offsetof("struct mb_stack_counters", "published_by_type")
READINGS_MAX = 100

Name = TypeVar("Name", str, int)


class AreaError(Exception):
    """A child's area is not what it must be: not sealed, or of another size."""


class MappedArea:
    """Another process's area, mapped read-only."""

    def __init__(self, fd: int, size: int) -> None:
        """Takes `fd`. Raises AreaError."""
        self._area = ffi.new("struct mb_area *")
        status = lib.mb_area_map(self._area, fd, size)
        os.close(fd)
        if status != 0:
            raise AreaError(f"its area cannot be mapped: {os.strerror(-status)}")

    @property
    def base(self) -> Any:
        """Where it begins; valid until `close`."""
        return self._area.base

    def close(self) -> None:
        """Unmaps it."""
        lib.mb_area_destroy(self._area)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class WorkerCounters:
    """The rows of counters.def by name, and the arrays without their zeros."""

    values: dict[str, int]
    published: dict[int, int]  # by number of the event type
    reasons: dict[int, int]  # by number of the reason
    caps_met: dict[str, dict[str, int]]  # by cap and policy, in the chain file's words
    judges: dict[int, dict[str, int]]  # by NF: struct mb_judge_counters
    shadows: dict[int, dict[str, int]]  # by NF: struct mb_shadow_counters
    packets_unsorted: int = 0  # of `packets`: it died before it counted them by kind
    output_unfinished: int = 0  # packets: with the gate or in a buffer when it died


@dataclass(frozen=True, slots=True)
class NFCounters:
    """What one NF counts (struct mb_nf_counters)."""

    values: dict[str, int]
    verdicts: dict[str, int]
    published: dict[int, int]  # by number of the event type

    def __add__(self, other: NFCounters) -> NFCounters:
        """What two processes counted, one after the other."""
        return NFCounters(
            _sums(self.values, other.values),
            _sums(self.verdicts, other.verdicts),
            _sums(self.published, other.published),
        )


class WorkerPages:
    """The worker's counter page, and the head page of its log."""

    def __init__(
        self, log_fd: int, log_slots: int, counters_fd: int, packets_before: int = 0
    ) -> None:
        """Takes both descriptors. `packets_before`: of the input, that another worker has handled.
        Raises AreaError."""
        self.packets_before = packets_before
        try:
            self._log = MappedArea(log_fd, lib.MB_PAGE_SIZE + log_slots * lib.MB_ENTRY_SIZE)
        except AreaError:
            os.close(counters_fd)
            raise
        self._counters = MappedArea(counters_fd, lib.mb_worker_counters_size())
        self._page = ffi.cast("const struct mb_log_page *", self._log.base)
        self._slots = ffi.cast("const struct mb_entry *", self._log.base + lib.MB_PAGE_SIZE)
        self._slot_mask = log_slots - 1
        self._copies = ffi.cast("const struct mb_counter_page *", self._counters.base)

    @property
    def _values(self) -> Any:
        return self._copies.copies + (self._copies.current & 1)

    def value(self, name: str) -> int:
        """One row of counters.def, as of now."""
        return int(getattr(self._values, name))

    def rows(self) -> dict[str, int]:
        """The rows of counters.def, all as of one moment, while the worker runs.

        Two readings in a row that are equal caught no copy half written: the worker would have had
        to go on and to stand still between them.
        """
        rows = self._read_rows()
        for _ in range(READINGS_MAX):
            again = self._read_rows()
            if again == rows:
                break
            rows = again
        return dict(zip(ROWS, memoryview(rows).cast("Q"), strict=True))

    def _read_rows(self) -> bytes:
        return bytes(ffi.buffer(self._values, ROWS_SIZE))

    def caps_met(self) -> dict[str, dict[str, int]]:
        """How often each cap was met, by policy, as of now."""
        return _caps_met(self._values.caps_met)

    def counters(self) -> WorkerCounters:
        """All of it, when the worker has ended."""
        values = self._values
        rows = _scalars(values)
        uncounted = self._uncounted(rows["entries"])
        packets = self.last_packet - self.packets_before - rows["packets_foreign"]
        return WorkerCounters(
            values={**rows, "entries": rows["entries"] + uncounted.total(), "packets": packets},
            published=_sums(_not_zero(values.published_by_type), uncounted),
            reasons=_not_zero(values.by_reason),
            caps_met=_caps_met(values.caps_met),
            judges={index: _scalars(values.judges + index) for index in range(lib.MB_NFS_MAX)},
            shadows={index: self.shadow(index) for index in range(lib.MB_NFS_MAX)},
            packets_unsorted=packets - rows["packets"],
        )

    def _uncounted(self, counted: int) -> Counter[int]:
        """Entries by type that NFs read, though the worker died before it could count them."""
        return Counter(int(self._entry(sequence).type) for sequence in range(counted, self.head))

    def _entry(self, sequence: int) -> Any:
        return self._slots[sequence & self._slot_mask]

    @property
    def last_packet(self) -> int:
        """The number of the last packet that the worker is known to have handled: NFs have all
        events of those up to it, and of none behind it."""
        head = self.head
        told = int(self._entry(head - 1).packet) if head else 0
        return max(told, self.packets_before + self.packets_passed)

    @property
    def packets_passed(self) -> int:
        """Of the input, those of other workers included."""
        return self.value("packets") + self.value("packets_foreign")

    def shadow(self, index: int) -> dict[str, int]:
        """What NF `index` would have done while it was in shadow, as of now."""
        shadow = self._copies.shadows + index
        return {**_scalars(ffi.addressof(shadow[0], "judge")), **_scalars(shadow)}

    def published(self, type_number: int) -> int:
        """Entries of this type, as of now."""
        return int(self._values.published_by_type[type_number])

    def published_by_type(self) -> dict[int, int]:
        """Entries by number of their type, as of now."""
        return _not_zero(self._values.published_by_type)

    def by_reason(self) -> dict[int, int]:
        """Occurrences by number of the reason, as of now."""
        return _not_zero(self._values.by_reason)

    def judge(self, index: int) -> dict[str, int]:
        """What the verdicts of NF `index` did at the gate, as of now."""
        return _scalars(self._values.judges + index)

    @property
    def head(self) -> int:
        """One past the last entry that may be read."""
        return int(self._page.head)

    def passed(self, index: int, cursor: int) -> int:
        """Where NF `index` counts as standing (bus/layout.h, "Passed")."""
        head = self.head
        if cursor >= self._page.due[index]:
            return head
        return max(cursor, int(getattr(self._page, "from")[index]))

    def position(self, index: int, cursor: int) -> int:
        """What NF `index` has got to: as `passed`, but for one that died, where it died."""
        return min(self.passed(index, cursor), self.gone_at(index))

    def gone_at(self, index: int) -> int:
        """Where NF `index` died; past everything while it lives."""
        return int(self._page.gone_at[index])

    def close(self) -> None:
        """Unmaps both."""
        self._log.close()
        self._counters.close()


class NFPages:
    """An NF's page and counters."""

    def __init__(self, fd: int, shape: AreaShape) -> None:
        """Takes `fd`. Raises AreaError."""
        geometry = geometry_of(shape)
        self._area = MappedArea(fd, lib.mb_nf_area_size(geometry))
        parts = lib.mb_nf_area_parts(self._area.base, geometry)
        self._page = ffi.cast("const struct mb_nf_page *", parts.page)
        self._values = ffi.cast("const struct mb_nf_counters *", parts.counters)

    @property
    def cursor(self) -> int:
        """Next entry of the worker's log that it will look at."""
        return int(self._page.cursor)

    def value(self, name: str) -> int:
        """One counter, as of now."""
        return int(getattr(self._values, name))

    def counters(self) -> NFCounters:
        """All of it, as of now."""
        verdicts = _not_zero(self._values.verdicts)
        return NFCounters(
            values=_scalars(self._values),
            verdicts={
                name: verdicts[number]
                for number, name in VERDICT_NAMES.items()
                if number in verdicts
            },
            published=_not_zero(self._values.published_by_type),
        )

    def close(self) -> None:
        """Unmaps it."""
        self._area.close()


def _sums(one: Mapping[Name, int], other: Mapping[Name, int]) -> dict[Name, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _scalars(counters: Any) -> dict[str, int]:
    fields = ffi.typeof(counters).item.fields
    return {
        name: int(getattr(counters, name))
        for name, field in fields
        if field.type.kind == "primitive"
    }


def _caps_met(counts: Any) -> dict[str, dict[str, int]]:
    met = {name: _not_zero(counts[cap]) for cap, name in CAPS.items()}
    return {
        name: {POLICIES[policy]: count for policy, count in by_policy.items()}
        for name, by_policy in met.items()
        if by_policy
    }


def _not_zero(array: Any) -> dict[int, int]:
    return {number: int(count) for number, count in enumerate(array) if count}
