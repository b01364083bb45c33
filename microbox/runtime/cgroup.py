"""What the control groups that this process is in leave of memory (cgroup v2)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
HIERARCHY = Path("/sys/fs/cgroup")
UNIFIED = "0::"
"""What the line of cgroup v2 begins with (cgroups(7))."""


def free_in_groups(membership: Path = MEMBERSHIP, hierarchy: Path = HIERARCHY) -> int | None:
    """Bytes below the lowest limit of the own group and those above it; None: there is no limit.
    Files that nobody uses just now can be given up, so they do not count."""
    return min(_free(membership, hierarchy), default=None)


def _free(membership: Path, hierarchy: Path) -> Iterator[int]:
    for group in _groups(membership, hierarchy):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            most = int((group / "memory.max").read_text())
            taken = int((group / "memory.current").read_text())
            yield max(most - taken + _given_up(group), 0)


def _groups(membership: Path, hierarchy: Path) -> Iterator[Path]:
    """The own one first. In a container the root is the container's."""
    with contextlib.suppress(OSError):
        for line in membership.read_text().splitlines():
            if line.startswith(UNIFIED):
                own = Path(line.removeprefix(UNIFIED).lstrip("/"))
                yield from (hierarchy / one for one in (own, *own.parents))


def _given_up(group: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "inactive_file":
                return int(count)
    return 0
