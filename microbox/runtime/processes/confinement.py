"""What is in force for an NF's process, read from the kernel where the kernel says it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microbox.channel.messages import Confined

CAPABILITIES = {1: "dac_override", 2: "dac_read_search"}  # linux/capability.h
FILTERED = 2  # SECCOMP_MODE_FILTER


def in_force(process: int, confined: Confined, memory: int) -> dict[str, Any]:
    """With stable keys (docs/guide/cli.md). The kernel tells nobody of a Landlock domain, and of
    being undumpable only by who owns files in /proc: what the NF said before its code was loaded
    fills that in. `memory`: the limit that the chain sets, 0 for none. {} where the process is
    gone."""
    status = _status(process)
    if not status:
        return {}
    user = int(status["Uid"].split()[1])
    return {
        "sandbox": confined.is_on,
        "landlock": confined.landlock,
        "seccomp": int(status["Seccomp"]) == FILTERED,
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "undumpable": _is_undumpable(process, user, confined),
        "user": user,
        "capabilities": _names(int(status["CapEff"], 16)),
        "missing": confined.missing,
        "memory": memory,
    }


def _status(process: int) -> dict[str, str]:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {}


def _is_undumpable(process: int, user: int, confined: Confined) -> bool:
    """Root owns what is in /proc/PID of a process that is, and of its own."""
    if user == 0:
        return confined.is_on
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/maps").stat().st_uid == 0
    return False


def _names(capabilities: int) -> list[str]:
    bits = (bit for bit in range(64) if capabilities >> bit & 1)
    return [CAPABILITIES.get(bit, str(bit)) for bit in bits]


def warnings_about(confined: Mapping[str, Confined]) -> list[str]:
    """What people should know before packets flow. `confined` by the NF's name."""
    free = [name for name, one in confined.items() if not one.is_on]
    missing = dict.fromkeys(sentence for one in confined.values() for sentence in one.missing)
    warnings = [f"this machine cannot confine NFs in full: {sentence}" for sentence in missing]
    if free:
        verb = "run" if len(free) > 1 else "runs"
        warnings.append(f"sandbox: off: {', '.join(free)} {verb} with all rights of this user")
    return warnings
