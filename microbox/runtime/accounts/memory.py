"""What a run has taken of what its limits come to (chain/memory.py).

Memory that a table has taken stays taken, so its share is told by the most that was ever in it at
once. Of areas that processes share the kernel says what was touched. Rings are gone round within
some ten thousand packets: they count whole.
"""

from __future__ import annotations

import os

from microbox.chain.memory import AREA, MemoryPart
from microbox.runtime.accounts.report import MemoryUse, PartUse
from microbox.runtime.lane import Lane
from microbox.runtime.running import Running

BLOCK = 512
"""Bytes of what st_blocks counts (stat(2))."""

LOG, INPUT, DATAGRAMS, EDITED_FRAMES = range(4)
_SHARED = {"log": LOG, "datagrams": DATAGRAMS, "edited_frames": EDITED_FRAMES}
"""Parts that are areas of the worker, and where their descriptors are in Lane.shared; the last one
is there where an NF edits packets."""

_FILLED = {
    "flows": ("flows_peak", "flows_max"),
    "held_segments": ("held_segments_peak", "held_segments_max"),
    "compared_segments": ("compared_segments_peak", "compared_segments_max"),
    "judged_bytes": ("judged_bytes_peak", "judged_bytes_max"),
    "fragments": ("datagrams_waiting_peak", "fragmented_datagrams_max"),
}
"""Parts that are tables: the counter that says how full it ever was, and the limit."""


def memory_now(running: Running) -> MemoryUse:
    """Up to now; also when all processes have ended."""
    parts = [_use(running, part) for part in running.plan.memory()]
    return MemoryUse(
        used=sum(part.used for part in parts),
        limit=sum(part.limit for part in parts),
        budget=running.chain.memory_max,
        parts=parts,
    )


def used_by_part(running: Running, lane: Lane) -> dict[str, tuple[int, int]]:
    """Of one worker: bytes taken, and the limit. Areas of all its NFs are one part; what workers
    share is left out."""
    sums: dict[str, tuple[int, int]] = {}
    for part in running.plan.memory():
        if not part.is_shared:
            used, limit = sums.get(part.name, (0, 0))
            sums[part.name] = (used + _used(running, lane, part), limit + part.size)
    return sums


def _use(running: Running, part: MemoryPart) -> PartUse:
    if part.is_shared:
        used = min(_touched(running.lanes[0].shared[INPUT]), part.size)
        return PartUse(part.name, None, used, part.size)
    used = sum(_used(running, lane, part) for lane in running.lanes)
    return PartUse(part.name, part.nf or None, used, len(running.lanes) * part.size)


def _used(running: Running, lane: Lane, part: MemoryPart) -> int:
    """Of one worker, or of one of its NFs."""
    if part.name == AREA:
        areas = (nf.area for nf in lane.nfs if nf.planned.name == part.nf and not nf.is_settled)
        return sum(map(_touched, areas))
    if part.name in _SHARED:
        return min(_touched(lane.shared[_SHARED[part.name]]), part.size)
    if part.name not in _FILLED:
        return part.size
    counter, limit = _FILLED[part.name]
    most = running.plan.settings[limit]
    return part.size * min(lane.pages.value(counter), most) // most


def _touched(fd: int) -> int:
    return os.fstat(fd).st_blocks * BLOCK
