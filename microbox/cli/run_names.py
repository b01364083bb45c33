"""Which of the runs of this user is meant."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def find_run(name: str, verb: str) -> tuple[str, Path] | int:
    """The run's name and its socket; or the exit status, when it was said what is wrong."""
    from microbox.runtime.control.control_socket import running
    from microbox.runtime.errors import USAGE

    found = running()
    wanted = [run for run in found if name in ("", run, run.rpartition(".")[0])]
    if len(wanted) != 1:
        print(f"error: {_not_one(name, wanted, list(found), verb)}", file=sys.stderr)
        return USAGE
    return wanted[0], found[wanted[0]]


def ask_run(
    name: str, verb: str, nf: str = "", *, file: str = ""
) -> tuple[str, dict[str, Any]] | int:
    """The run's name and its answer; or the exit status, when it was said what is wrong."""
    from microbox.runtime.control.control_socket import ControlError, ask
    from microbox.runtime.errors import FAILED

    found = find_run(name, verb)
    if isinstance(found, int):
        return found
    try:
        return found[0], ask(found[1], verb, nf, file=file)
    except ControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED


def _not_one(name: str, wanted: list[str], found: list[str], verb: str) -> str:
    called = f" called '{name}'" if name else ""
    if not found:
        return f"there is no run{called}; nothing of this user runs{_others()}"
    count = f"there are {len(wanted)} runs" if wanted else "there is no run"
    option = "" if verb in ("stop", "flows", "top") else " (--run)"
    return f"{count}{called}; expected one of{option}: {', '.join(found)}"


def _others() -> str:
    """Others whose runs there may be: whoever runs a chain speaks to it."""
    own = os.getuid()
    owners = {path.stat().st_uid for path in Path("/tmp").glob("microbox-[0-9]*")} - {own}
    if not owners:
        return ""
    users = ", ".join(map(str, sorted(owners)))
    return f" (user {users} may have runs, which only that user reaches)"
