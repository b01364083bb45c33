"""Open files: enough for the processes of a chain, or an error before anything starts.

What fails for want of a descriptor in the middle of a start says little about it.
"""

from __future__ import annotations

import resource

from microbox.runtime.errors import RunError

ALWAYS = 64
"""The controller's own: streams, event loop, sockets, capture, output, the worker's areas."""

OF_ONE_NF = 12
"""Its channel, pipes and pidfd, its area, what its start takes for a moment."""


def provide_descriptors(nfs: int) -> None:
    """Raises this process's limit as far as it needs and may. Raises RunError where that is not
    enough for a chain of `nfs` NFs."""
    needed = ALWAYS + OF_ONE_NF * nfs
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_within(needed, soft):
        return
    if not _is_within(needed, hard):
        raise RunError(
            f"{nfs} NFs take up to {needed:,} open files, but no more than {hard:,} are allowed; "
            f"raise the limit: ulimit -n {needed}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _is_within(needed: int, limit: int) -> bool:
    return limit == resource.RLIM_INFINITY or needed <= limit
