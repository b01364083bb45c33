"""Which of the runs of this user is meant."""

from __future__ import annotations

import sys
from typing import Any


def ask_run(name: str, verb: str, nf: str = "") -> tuple[str, dict[str, Any]] | int:
    """The run's name and its answer; or the exit status, when it was said what is wrong."""
    from microbox.runtime.control import ControlError, ask, running
    from microbox.runtime.errors import FAILED, USAGE

    found = running()
    wanted = [run for run in found if name in ("", run, run.rpartition(".")[0])]
    if len(wanted) != 1:
        print(f"error: {_not_one(name, wanted, list(found), verb)}", file=sys.stderr)
        return USAGE
    try:
        return wanted[0], ask(found[wanted[0]], verb, nf)
    except ControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED


def _not_one(name: str, wanted: list[str], found: list[str], verb: str) -> str:
    what = f"called '{name}'" if name else ("to stop" if verb == "stop" else "there")
    count = f"{len(wanted)} runs are" if wanted else "there is no run"
    expected = f"expected one of: {', '.join(found)}" if found else "nothing runs"
    return f"{count} {what}; {expected}"
