"""`microbox flows`: the flows that a chain which runs has at this moment."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from microbox.cli.flow_rows import FlowRow, Key, documents, in_order, row_of, table, write_csv
from microbox.cli.observation import Observed, Observer, Place, observe
from microbox.cli.run_names import find_run
from microbox.nf.decorators import on

if TYPE_CHECKING:
    from microbox.nf.event import Event

PIPE_WIDTH = 1000
"""Columns where the output is no terminal: a flow is a line."""


@Parameter(name="*")
@dataclass(frozen=True)
class Shown:
    """What is shown of the flows, and how."""

    sort: Key = "bytes"
    """By this column; the largest first of bytes, packets, age and idle."""

    count: Annotated[int | None, Parameter(name=["--count", "-n"])] = None
    """Show so many at most."""

    json: Annotated[bool, Parameter(negative=())] = False
    """Print one JSON document."""

    csv: Annotated[bool, Parameter(negative=())] = False
    """Print a line of names and one a flow, with commas."""


def flows(run: str = "", /, *, filter: str = "", shown: Shown = Shown()) -> int:
    """Show the flows that a chain which runs has at this moment: state, packets and payload bytes
    each way, age and the time since the last packet. The chain does not wait for it.

    Parameters
    ----------
    run
        The run, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one chain runs.
    filter
        Show those alone that this filter, in libpcap's syntax, takes in one of their directions.
    """
    from microbox.runtime.errors import USAGE

    wrong = _wrong(filter, shown)
    if wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return USAGE
    found = find_run(run, "flows")
    if isinstance(found, int):
        return found
    name, control = found
    observed = observe(control, _looking_at(filter), "flows", Place(catches_up=True))
    if isinstance(observed, int):
        return observed
    rows = in_order(observed.observer.rows, shown.sort)[: shown.count]
    if shown.csv:
        write_csv(rows)
    elif shown.json:
        _print_json(name, observed, rows)
    else:
        _print(rows)
    _say_what_is_missing(observed, len(rows))
    return 0


def _wrong(filter: str, shown: Shown) -> str:
    """What cannot be, in a sentence; else ""."""
    from microbox.chain.filters import judge_filter

    if shown.json and shown.csv:
        return "--json and --csv: expected one of them"
    if shown.count is not None and shown.count < 0:
        return f"-n: {shown.count} is no count; expected 0 or more"
    if not filter.strip():
        return ""
    facts = judge_filter(filter)
    if facts.error:
        return f"--filter: '{filter}': {facts.error}; expected an expression as of tcpdump"
    if not facts.is_per_flow:
        return (
            f"--filter: '{filter}' looks at more of a packet than its addresses and ports, and "
            "there is no packet; expected such as 'host 10.0.0.1 and tcp port 80'"
        )
    return ""


# --- who looks ---


class FlowObserver(Observer):
    """Leaves when it has been told of all flows that there are."""

    left: int | None = None  # flows that it is still to be told of; None: not known

    def __init__(self) -> None:
        """Knows of none."""
        self.rows: list[FlowRow] = []
        self.present = 0

    @on("system.nf_attached")
    def begin(self, event: Event) -> None:
        """The first is its own: so many flows come next."""
        if self.left is None:
            self.left = self.present = event.flows
            self._leave_with_the_last()

    @on("system.lost")
    def miss(self, event: Event) -> None:
        """It was too slow for some; among those may be the word that it is there."""
        self.left = (self.left or 0) - event.events
        self._leave_with_the_last()

    def take(self, event: Event) -> None:
        """One flow."""
        self.rows.append(row_of(event))
        if self.left is not None:
            self.left -= 1
        self._leave_with_the_last()

    def _leave_with_the_last(self) -> None:
        if self.left is not None and self.left <= 0:
            self.leave()


def _looking_at(filter: str) -> type[FlowObserver]:
    class Flows(FlowObserver):
        take = on("flow.present", filter=filter)(FlowObserver.take)

    return Flows


# --- what is shown ---


def _print(rows: list[FlowRow]) -> None:
    from microbox.cli.terminal import console

    out = console()
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    if rows:
        out.print(table(rows))


def _print_json(run: str, observed: Observed[FlowObserver], rows: list[FlowRow]) -> None:
    from microbox.cli.terminal import print_json

    counts = {"present": observed.observer.present, "lost": observed.lost}
    print_json({"run": run, **counts, "flows": documents(rows)})


def _say_what_is_missing(observed: Observed[FlowObserver], shown: int) -> None:
    rows, lost = len(observed.observer.rows), observed.lost
    if lost:
        print(f"{lost:,} flows are not shown: they came too fast (--filter helps)", file=sys.stderr)
    if shown < rows:
        print(f"{shown:,} of {rows:,} flows", file=sys.stderr)
    elif not rows:
        print("no flows", file=sys.stderr)
