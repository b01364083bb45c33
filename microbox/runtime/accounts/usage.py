"""What a process takes of processors and memory, as the kernel says it in /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  # of a processor's second
PAGE = os.sysconf("SC_PAGE_SIZE")
KIB = 1 << 10

# Fields of /proc/PID/stat behind the name in parentheses, which may have spaces in it (proc(5)).
USER_TIME, SYSTEM_TIME = 11, 12
DATA_LIMIT = "Max data size"


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process, up to now."""

    seconds: float  # of processors
    resident: int  # bytes of memory, what it shares with others included
    private: int  # bytes that a limit of memory counts (RLIMIT_DATA)
    limit: int  # of these; 0: none

    def taken(self, allowed: int) -> int:
        """Of the bytes that a chain allows an NF's code, those that it has taken: the limit has in
        it, beyond these, what the process took for itself (nf/memory.py)."""
        return max(0, self.private - (self.limit - allowed)) if self.limit else 0


def usage(process: int) -> Usage | None:
    """None where the process is gone, or not to be seen."""
    folder = Path(f"/proc/{process}")
    try:
        times = (folder / "stat").read_text().rpartition(")")[2].split()
        pages = (folder / "statm").read_text().split()[1]
        return Usage(
            seconds=(int(times[USER_TIME]) + int(times[SYSTEM_TIME])) / TICKS,
            resident=int(pages) * PAGE,
            private=_private(folder),
            limit=_limit(folder),
        )
    except (OSError, IndexError, ValueError):
        return None


def _private(folder: Path) -> int:
    for line in (folder / "status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * KIB
    return 0


def _limit(folder: Path) -> int:
    for line in (folder / "limits").read_text().splitlines():
        if line.startswith(DATA_LIMIT):
            soft = line.removeprefix(DATA_LIMIT).split()[0]
            return 0 if soft == "unlimited" else int(soft)
    return 0
