"""Which parts of confinement this machine has."""

from __future__ import annotations

import os
from pathlib import Path

from microbox._core import lib

SIGNAL_SCOPE = 6  # MB_LANDLOCK_SCOPES


def missing_parts() -> list[str]:
    """What this kernel lacks, a sentence each; [] where NFs can be confined in full."""
    parts = (missing_of_landlock(), missing_of_seccomp(), missing_of_users())
    return [sentence for sentence in parts if sentence]


def missing_of_landlock() -> str:
    """What its Landlock lacks; "" where that is nothing, as for the others."""
    version = lib.mb_landlock_version()
    if version == 0:
        return "no Landlock: an NF may read and write whatever its user may"
    if version < SIGNAL_SCOPE:
        return (
            f"Landlock of version {version}: only from {SIGNAL_SCOPE} on does it keep an NF from "
            "sending signals (the filter of system calls does so too)"
        )
    return ""


def missing_of_seccomp() -> str:
    """What its filter of system calls lacks."""
    if lib.mb_seccomp_is_supported():
        return ""
    return (
        "no filter of system calls (seccomp): an NF may trace, signal and start "
        "processes, and make sockets"
    )


def missing_of_users() -> str:
    """What its users lack for NFs of root; an NF of anybody else keeps its user."""
    if os.geteuid() != 0 or has_own_users():
        return ""
    return "no user of its own for an NF: this user namespace has none to give"


def has_own_users() -> bool:
    """Whether the user namespace has the users that NFs of root get."""
    try:
        rows = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    ranges = [tuple(map(int, row.split())) for row in rows]
    user = lib.mb_own_user()
    return any(first <= user < first + count for first, _, count in ranges)
