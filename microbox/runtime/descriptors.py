"""Open files: enough for the processes of a chain, or an error before anything starts.

What fails for want of a descriptor in the middle of a start says little about it.
"""

from __future__ import annotations

import resource

from microbox.runtime.errors import RunError

ALWAYS = 64
"""The controller's own: streams, event loop, sockets, capture, output, the worker's areas."""

OF_ONE_PROCESS = 13
"""An NF's, or a further worker's: its channel, pipes and pidfd, its areas, its log, what its start
takes for a moment."""

OF_REQUESTS = 160
"""The connections of the control socket, and what has to be free for one more. A chain runs without
them, too."""


def provide_descriptors(nfs: int, workers: int = 1) -> None:
    """Raises this process's limit as far as it needs and may. Raises RunError where that is not
    enough for a chain of `nfs` NFs, which each worker has processes of."""
    processes = nfs * workers
    needed = ALWAYS + OF_ONE_PROCESS * (processes + workers - 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed + OF_REQUESTS
    if _is_within(wanted, soft):
        return
    if not _is_within(needed, hard):
        what = "NFs" if workers == 1 else f"processes of NFs, for {workers} workers,"
        raise RunError(
            f"{processes} {what} take up to {needed:,} open files, but no more than {hard:,} are "
            f"allowed; raise the limit: ulimit -n {needed}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if _is_within(wanted, hard) else hard, hard))


def nfs_within(limit: int) -> int | None:
    """How many NFs one worker's chain may have with so many open files; None: any number."""
    if limit == resource.RLIM_INFINITY:
        return None
    return max(limit - ALWAYS, 0) // OF_ONE_PROCESS


def _is_within(needed: int, limit: int) -> bool:
    return limit == resource.RLIM_INFINITY or needed <= limit
