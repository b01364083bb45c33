"""`microbox reload`: reads an NF's file anew while its chain runs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from microbox.cli.run_names import ask_run


def reload(nf: str, /, *, run: Annotated[str, Parameter(name="--run")] = "") -> int:
    """Read an NF's file anew: a new process takes over at one event, and the old one finishes.

    Parameters
    ----------
    nf
        The NF's name in the chain.
    run
        The run, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one chain runs.
    """
    from microbox.runtime.membership.by_hand import at_events

    asked = ask_run(run, "reload", nf)
    if isinstance(asked, int):
        return asked
    print(f"{nf} was read anew, and runs from {at_events(asked[1]['events'])} on")
    return 0
