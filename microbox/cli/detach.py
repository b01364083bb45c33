"""`microbox detach`: takes an NF out of a chain that runs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from microbox.cli.run_names import ask_run


def detach(nf: str, /, *, run: Annotated[str, Parameter(name="--run")] = "") -> int:
    """Take an NF out of a chain that runs: it finishes, and the chain goes on without it.

    Parameters
    ----------
    nf
        The NF's name in the chain.
    run
        The run, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one chain runs.
    """
    from microbox.runtime.membership.by_hand import at_events

    asked = ask_run(run, "detach", nf)
    if isinstance(asked, int):
        return asked
    print(f"{nf} leaves, after {at_events(asked[1]['events'])}")
    return 0
