"""`microbox`: finds the verb, turns its errors into sentences and exit statuses.

0: fine. 1: the run failed. 2: usage, configuration or input is wrong. 130: interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

FINE = 0
WRONG = 2
INTERRUPTED = 130

HELP = """Runs chains of network functions (NFs) over one shared TCP/IP stack.

A chain is a YAML file; `microbox init nf NAME` writes one to begin with.
"""


def make_app() -> App:
    """The application. Verbs are named, not imported."""
    from cyclopts import App

    from microbox import __version__

    app = App(
        name="microbox", help=HELP, version=f"microbox {__version__}", version_flags=["--version"]
    )
    app.command("microbox.cli.run:run", name="run", help="Run a chain over a capture.")
    app.command("microbox.cli.check:check", name="check", help="Check a chain; show its plan.")
    app.command("microbox.cli.events:events", name="events", help="Show the event types.")
    app.command("microbox.cli.nfs:nfs", name="nfs", help="Show the built-in NFs.")
    app.command("microbox.cli.ps:ps", name="ps", help="List the chains that run.")
    app.command("microbox.cli.stop:stop", name="stop", help="End a run in order.")
    init = App(name="init", help="Write something to begin with.")
    init.command("microbox.cli.init:nf", name="nf", help="A new NF, its test, and a chain.")
    app.command(init)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:  # at once, without loading anything
        from microbox import __version__

        print(f"microbox {__version__}")
        return FINE
    try:
        return _run(given)
    except BrokenPipeError:  # `microbox events | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(given: list[str]) -> int:
    from cyclopts import CycloptsError

    from microbox.chain.errors import ChainErrors
    from microbox.cli.complaints import complain

    try:
        status = make_app()(
            given or ["--help"], exit_on_error=False, print_error=True, result_action="return_value"
        )
    except CycloptsError:
        return WRONG  # it was printed
    except ChainErrors as errors:
        complain(errors.errors)
        return WRONG
    return status if isinstance(status, int) else FINE
