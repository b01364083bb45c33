"""`microbox promote`: an NF in shadow judges for real while its chain runs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from microbox.cli.run_names import ask_run


def promote(nf: str, /, *, run: Annotated[str, Parameter(name="--run")] = "") -> int:
    """Let an NF that runs in shadow (`shadow: true`) judge for real, from one event on.

    Parameters
    ----------
    nf
        The NF's name in the chain.
    run
        The run, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one chain runs.
    """
    from microbox.runtime.membership.by_hand import at_events

    asked = ask_run(run, "promote", nf)
    if isinstance(asked, int):
        return asked
    print(f"{nf} is promoted: its verdicts count from {at_events(asked[1]['events'])} on")
    return 0
