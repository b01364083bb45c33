"""`microbox`: finds the verb, turns its errors into sentences and exit statuses.

0: fine. 1: the run failed. 2: usage, configuration or input is wrong. 128 + the
number of a signal: ended by it.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

FINE = 0
FAILED = 1
WRONG = 2
INTERRUPTED = 130

CANDIDATES = "--candidates"

HELP = """Runs chains of network functions (NFs) over one shared TCP/IP stack.

A chain is a YAML file; `microbox init nf NAME` writes one to begin with.
"""


# verb → where it is, and the sentence that stands in the list of verbs
VERBS = {
    "run": ("microbox.cli.run:run", "Run a chain over a capture."),
    "check": ("microbox.cli.check:check", "Check a chain; show its plan."),
    "events": ("microbox.cli.events:events", "Show the event types."),
    "nfs": ("microbox.cli.nfs:nfs", "Show the built-in NFs."),
    "schema": ("microbox.cli.schema:schema", "Print what editors complete chain files by."),
    "doctor": ("microbox.cli.doctor:doctor", "Say what works on this machine, and what does not."),
    "completion": ("microbox.cli.completion:completion", "Print what completes verbs in a shell."),
    "man": ("microbox.cli.man:man", "Print manual pages."),
    "include": ("microbox.cli.include:include", "Say where the C headers are."),
    "ps": ("microbox.cli.ps:ps", "List the chains that run."),
    "top": ("microbox.cli.top:top", "Show a chain that runs, as it goes."),
    "flows": ("microbox.cli.flows:flows", "Show the flows of a chain that runs."),
    "why": ("microbox.cli.why:why", "Say what a chain does for a flow, and because of whom."),
    "alerts": ("microbox.cli.alerts:alerts", "Write the packets that caused alerts to a capture."),
    "trace": ("microbox.cli.trace:trace", "Show packets on their way through stack and NFs."),
    "watch": ("microbox.cli.watch:watch", "Show the events of a chain that runs."),
    "attach": ("microbox.cli.attach:attach", "Run an NF here, in a chain that runs."),
    "detach": ("microbox.cli.detach:detach", "Take an NF out of a chain that runs."),
    "reload": ("microbox.cli.reload:reload", "Take a changed chain file, or NF, while it runs."),
    "promote": ("microbox.cli.promote:promote", "Let an NF in shadow judge for real."),
    "stop": ("microbox.cli.stop:stop", "End a run in order."),
}
INIT_VERBS = {"nf": ("microbox.cli.init:nf", "A new NF, its test, and a chain.")}


def make_app(given: Sequence[str]) -> App:
    """The application. Verbs are named, not imported; where they are listed, the list's sentences
    take the place of their own help."""
    from cyclopts import App

    from microbox import __version__

    app = App(
        name="microbox", help=HELP, version=f"microbox {__version__}", version_flags=["--version"]
    )
    init = App(name="init", help="Write something to begin with.")
    _add(app, VERBS, given)
    _add(init, INIT_VERBS, given[1:])
    app.command(init)
    return app


def _add(app: App, verbs: Mapping[str, tuple[str, str]], given: Sequence[str]) -> None:
    is_listed = not given or given[0].startswith("-")
    for verb, (place, sentence) in verbs.items():
        app.command(place, name=verb, help=sentence if is_listed else None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit status."""
    from microbox.cli.terminal import is_lost_output, open_closed_streams

    open_closed_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _run(given)
        sys.stdout.flush()
        return status
    except OSError as error:
        if not is_lost_output(error):
            raise
        return FINE if error.errno == errno.EPIPE else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(given: list[str]) -> int:
    if given == ["--version"]:  # at once, without loading anything
        from microbox import __version__

        print(f"microbox {__version__}")
        return FINE

    if given[:1] == [CANDIDATES]:  # of a shell, while somebody writes
        from microbox.cli.candidates import print_candidates

        return print_candidates(given[1:])

    from cyclopts import CycloptsError

    from microbox.chain.errors import ChainErrors
    from microbox.cli.complaints import complain

    try:
        given = given or ["--help"]
        status = make_app(given)(
            given, exit_on_error=False, print_error=True, result_action="return_value"
        )
    except CycloptsError:
        return WRONG  # it was printed
    except ChainErrors as errors:
        complain(errors.errors)
        return WRONG
    return status if isinstance(status, int) else FINE
