"""`microbox stop`: ends a run in order, as Ctrl-C would."""

from __future__ import annotations

from microbox.cli.run_names import ask_run


def stop(name: str = "", /) -> int:
    """End a run in order: what was read so far is handled and summed up.

    Parameters
    ----------
    name
        As `microbox ps` shows it, or the name of the chain file without its ending. May be left
        out where one chain runs.
    """
    asked = ask_run(name, "stop")
    if isinstance(asked, int):
        return asked
    print(f"{asked[0]} stops")
    return 0
