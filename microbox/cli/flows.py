"""`microbox flows`: the flows that a chain which runs has at this moment."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from microbox.cli.flow_rows import (
    Columns,
    FlowRow,
    Key,
    copied,
    documents,
    in_order,
    rows_of,
    table,
    values_of,
    write_csv,
)
from microbox.cli.observation import Observer, Place, observe_each
from microbox.cli.run_names import find_run
from microbox.cli.terminal import ROW_WIDTH, console, print_json
from microbox.nf.decorators import on_batch

if TYPE_CHECKING:
    from microbox.nf.batch import Batch

DEADLINE = 10.0  # seconds that the chain waits for it at most, when it is stopped, say


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


def flows(
    run: str = "",
    /,
    *,
    filter: str = "",
    all: Annotated[bool, Parameter(negative=())] = False,
    shown: Shown = Shown(),
) -> int:
    """Show the flows that a chain which runs has at this moment: state, packets and payload bytes
    each way, age and the time since the last packet.

    Parameters
    ----------
    run
        The run, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one chain runs.
    filter
        Show those alone that this filter, in libpcap's syntax, takes in one of their directions.
    all
        Miss none of more flows than the chain's log holds events: the chain waits meanwhile.
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
    place = Place(skips=not all, catches_up=True, deadline=DEADLINE)
    seen = observe_each(control, _looking_at(filter), "flows", place, _as_json)
    if isinstance(seen, int):
        return seen
    rows = [FlowRow(*[*row, one.worker]) for one in seen for row in one.rows]
    missed = sum(one.lost for one in seen)
    _show(name, rows, shown, missed, has_workers=len(seen) > 1)
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
    """Leaves as soon as it is there: who leaves has read what was said before, which is all flows
    that there are. It takes batches, so that it
    hardly misses one."""

    def __init__(self) -> None:
        """Knows of none."""
        self.columns: list[Columns] = []

    def start(self) -> None:
        """Wants to leave."""
        self.leave()

    def take(self, batch: Batch) -> None:
        """Flows."""
        self.columns.append(copied(batch))

    @property
    def rows(self) -> Iterator[FlowRow]:
        """All of them."""
        return itertools.chain.from_iterable(map(rows_of, self.columns))


def _as_json(observer: FlowObserver) -> Iterator[tuple[Any, ...]]:
    return map(values_of, observer.rows)


def _looking_at(filter: str) -> type[FlowObserver]:
    class Flows(FlowObserver):
        take = on_batch("flow.present", filter=filter)(FlowObserver.take)

    return Flows


# --- what is shown ---


def _show(run: str, rows: list[FlowRow], shown: Shown, missed: int, *, has_workers: bool) -> None:
    first = in_order(rows, shown.sort)[: shown.count]
    if shown.csv:
        write_csv(first)
    elif shown.json:
        print_json({"run": run, "present": len(rows) + missed, "flows": documents(first)})
    elif rows:
        _print(first, has_workers=has_workers)
    if missed:
        print(f"{missed:,} more flows were told of too fast (--all waits)", file=sys.stderr)
    if len(first) < len(rows):
        print(f"{len(first):,} of {len(rows):,} flows", file=sys.stderr)
    elif not rows:
        print("no flows (where NFs read packets alone, none are kept)", file=sys.stderr)


def _print(rows: list[FlowRow], *, has_workers: bool) -> None:
    out = console()
    out.width = ROW_WIDTH  # a narrow terminal breaks a line, and no address
    out.print(table(rows, has_workers=has_workers))
