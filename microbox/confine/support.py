"""Which parts of confinement this machine has."""

from __future__ import annotations

import os
from pathlib import Path

from microbox._core import lib

SIGNAL_SCOPE = 6  # MB_LANDLOCK_SCOPES


def missing_parts() -> list[str]:
    """What this kernel lacks, a sentence each; [] where NFs can be confined in full."""
    missing = []
    version = lib.mb_landlock_version()
    if version == 0:
        missing.append("no Landlock: an NF may read and write whatever its user may")
    elif version < SIGNAL_SCOPE:
        missing.append(
            f"Landlock of version {version}: only from {SIGNAL_SCOPE} on does it keep an NF from "
            "sending signals (the filter of system calls does so too)"
        )
    if not lib.mb_seccomp_is_supported():
        missing.append(
            "no filter of system calls (seccomp): an NF may trace, signal and start "
            "processes, and make sockets"
        )
    if os.geteuid() == 0 and not has_own_users():
        missing.append("no user of its own for an NF: this user namespace has none to give")
    return missing


def has_own_users() -> bool:
    """Whether the user namespace has the users that NFs of root get."""
    try:
        rows = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    ranges = [tuple(map(int, row.split())) for row in rows]
    user = lib.mb_own_user()
    return any(first <= user < first + count for first, _, count in ranges)
