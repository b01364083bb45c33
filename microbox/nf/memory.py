"""How much memory an NF's code may take: what `memory` in the chain says, beyond what the process
has of its own.

The kernel counts private memory that can be written (RLIMIT_DATA): not the log, the capture and
the areas of other NFs, which are shared and only read.
"""

from __future__ import annotations

import os
import resource

KIB, MIB = 1 << 10, 1 << 20
STATUS_SIZE = 1 << 14  # bytes; it has a good thousand


class MemoryLimit:
    """Of this process. In force from when it is made; what the process takes for itself
    afterwards, as it says, is not the NF's."""

    def __init__(self, allowed: int) -> None:
        """`allowed` in bytes; 0: there is no limit. Before the process is confined: later it may
        not open the file."""
        self._allowed = allowed
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC) if allowed else -1
        self._own = self._taken = self._private_memory()
        self._set(is_final=False)

    def begin_own(self) -> None:
        """The process takes memory for itself from here on, which nothing limits,"""
        self._taken = self._private_memory()
        if self._allowed:
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))

    def end_own(self) -> None:
        """to here. The limit can be changed no more."""
        self._own += max(0, self._private_memory() - self._taken)
        self._set(is_final=True)
        if self._allowed:
            os.close(self._status)

    def hint(self, error: BaseException) -> str:
        """What an error has to do with it; "" where nothing."""
        if not self._allowed or not isinstance(error, MemoryError):
            return ""
        return f"the NF may take {self._allowed / MIB:g} MiB, as `memory` in the chain says"

    def _private_memory(self) -> int:
        """Bytes that count."""
        if not self._allowed:
            return 0
        for line in os.pread(self._status, STATUS_SIZE, 0).splitlines():
            if line.startswith(b"VmData:"):
                return int(line.split()[1]) * KIB
        return 0

    def _set(self, *, is_final: bool) -> None:
        if not self._allowed:
            return
        limit = self._own + self._allowed
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit if is_final else hard))
