"""What this machine has and what processes take of it; whether several workers fit."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from microbox.chain.plan import Plan
from microbox.chain.units import format_size

MEMORY = Path("/proc/meminfo")
AVAILABLE = "MemAvailable:"


def warnings_about_workers(plan: Plan, *, processors: int, available: int) -> list[str]:
    """`available`: bytes of memory; 0: not known. One worker fits, or it does not start."""
    workers = plan.chain.workers
    if workers == 1:
        return []
    warnings = []
    if workers > processors:
        are = "is 1 processor" if processors == 1 else f"are {processors} processors"
        warnings.append(f"{workers} workers take turns: there {are} for them")
    memory = workers * sum(plan.memory().values())
    if 0 < available < memory:
        warnings.append(
            f"{workers} workers share {format_size(memory)} of memory with their NFs, and "
            f"{format_size(available)} are free: fewer workers take less, as does a smaller log"
        )
    return warnings


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def available_memory() -> int:
    """Bytes that can be had without swapping; 0 where the kernel does not say."""
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
