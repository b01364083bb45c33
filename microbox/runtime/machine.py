"""What this machine has and what processes take of it; whether a chain fits."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from microbox.chain.memory import largest_in_words, most_memory
from microbox.chain.plan import Plan
from microbox.chain.units import format_size
from microbox.runtime.cgroup import free_in_groups

MEMORY = Path("/proc/meminfo")
AVAILABLE = "MemAvailable:"


def warnings_about_workers(plan: Plan, processors: int) -> list[str]:
    """Whether there are so many processors as workers."""
    workers = plan.chain.workers
    if workers <= max(processors, 1):
        return []
    are = "is 1 processor" if processors == 1 else f"are {processors} processors"
    return [f"{workers} workers take turns: there {are} for them"]


def warnings_about_memory(plan: Plan, available: int) -> list[str]:
    """`available`: bytes; 0: not known. Tables take memory as they are used, so that a chain may
    run for long in less than it takes at its limits. The input is left out: what it takes is known
    as soon as it is there."""
    parts = [part for part in plan.memory() if not part.is_shared]
    most = most_memory(parts, plan.chain.workers)
    if not 0 < available < most:
        return []
    takes = "the chain takes" if plan.chain.workers == 1 else f"{plan.chain.workers} workers take"
    return [
        f"{takes} up to {format_size(most)} of memory, and {format_size(available)} are free; "
        f"most of it: {largest_in_words(parts)}"
    ]


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def available_memory() -> int:
    """Bytes that can be had without swapping, and below the limits of the control groups; 0 where
    the kernel does not say."""
    free = [_free_in_all(), free_in_groups()]
    return min(one for one in free if one is not None)


def _free_in_all() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in MEMORY.read_text().splitlines():
            if line.startswith(AVAILABLE):
                return int(line.split()[1]) * 1024
    return 0


def resident_memory(process: int) -> int:
    """Bytes of a process that are in memory, what it shares with others included; 0 where it is
    gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0
