"""`microbox stop`: ends a run in order, as Ctrl-C would."""

from __future__ import annotations

import sys


def stop(name: str = "") -> int:
    """End a run in order: what was read so far is handled and summed up.

    Parameters
    ----------
    name
        As `microbox ps` shows it, or the name of the chain file without its ending. May be left
        out where one chain runs.
    """
    from microbox.runtime.control import ControlError, ask, running
    from microbox.runtime.errors import FAILED, USAGE

    found = running()
    wanted = [run for run in found if name in ("", run, run.rpartition(".")[0])]
    if len(wanted) != 1:
        print(f"error: {_not_one(name, wanted, list(found))}", file=sys.stderr)
        return USAGE
    try:
        ask(found[wanted[0]], "stop")
    except ControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    print(f"{wanted[0]} stops")
    return 0


def _not_one(name: str, wanted: list[str], found: list[str]) -> str:
    what = f"called '{name}'" if name else "to stop"
    count = f"{len(wanted)} runs are" if wanted else "there is no run"
    expected = f"expected one of: {', '.join(found)}" if found else "nothing runs"
    return f"{count} {what}; {expected}"
