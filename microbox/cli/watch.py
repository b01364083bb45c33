"""`microbox watch`: the events of a chain that runs, as they come."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from microbox.cli.run_names import find_run

if TYPE_CHECKING:
    from microbox.cli.event_lines import Lines
    from microbox.cli.observation import Place
    from microbox.cli.watched_types import Reading
    from microbox.cli.watching import View, Wanted
    from microbox.events.catalog import Catalog, EventType
    from microbox.runtime.partition import Partition

ENDED = 1
TIMED_OUT = 124  # as of timeout(1)

TERMINAL_RATE = 100  # events a second: more runs past people
PIPE_RATE = 10_000  # about a quarter of a core, as JSON
DEADLINE = 2.0  # seconds that a watcher whom the chain waits for may stand still
LOWEST_PRIORITY = 19


@Parameter(name="*")
@dataclass(frozen=True)
class Until:
    """When it ends."""

    once: Annotated[bool, Parameter(negative=())] = False
    """After one event."""

    count: Annotated[int | None, Parameter(name=["--count", "-n"])] = None
    """After so many events."""

    timeout: float | None = None
    """After so many seconds."""


@Parameter(name="*")
@dataclass(frozen=True)
class Form:
    """How an event is shown."""

    field: Annotated[list[str], Parameter(negative=())] = dataclasses.field(default_factory=list)
    """Only this field of it: one that `microbox events TYPE` lists, data, or a name among those of
    --csv. May be repeated."""

    json: Annotated[bool, Parameter(negative=())] = False
    """As a JSON object, one a line."""

    csv: Annotated[bool, Parameter(negative=())] = False
    """As a row of comma-separated values, behind one with their names."""


def watch(  # noqa: PLR0913 (an option each)
    type: str,
    /,
    *,
    run: str = "",
    filter: str = "",
    until: Until = Until(),
    form: Form = Form(),
    rate: int | None = None,
) -> int:
    """Show the events of a chain that runs, as they come, one a line. Ctrl-C ends it.

    The chain never waits for it: events that come faster than they can be read are skipped, and
    stderr says how many.

    Parameters
    ----------
    type
        A type, such as tcp.end or http.request: it, and all types below it.
    run
        The run, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one chain runs.
    filter
        Only events of packets and flows that fit, in libpcap's syntax.
    rate
        At most so many events a second; by default 100 on a terminal, else 10,000.
    """
    from microbox.cli.replicas import workers_of
    from microbox.cli.watched_types import RunTypes
    from microbox.cli.watching import Wanted
    from microbox.runtime.control.control_socket import ControlError, ask
    from microbox.runtime.errors import FAILED, USAGE
    from microbox.runtime.partition import partitions

    found = find_run(run, "watch")
    if isinstance(found, int):
        return found
    try:
        types = RunTypes(ask(found[1], "events"))
        of = types.resolve(type)
        reading = types.reading(of)
        wanted = Wanted(
            types=reading.types,
            filter=_checked(filter),
            declares=types.declares,
            number=_count(until),
            seconds=_seconds(until),
            rate=_rate(rate),
        )
        workers = partitions(workers_of(found[1]))
        lines = [_lines(of, types.catalog, form, one) for one in workers]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except ControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    if reading.left_out:
        names = ", ".join(reading.left_out)
        print(f"without what NFs publish: {names} (watch it by name)", file=sys.stderr)
    return _watch(found[1], lines, wanted, reading)


# --- what is asked for ---


def _checked(expression: str) -> str:
    from microbox.chain.filters import judge_filter

    if expression and (wrong := judge_filter(expression).error):
        raise ValueError(f"--filter: '{expression}' is no filter in libpcap's syntax: {wrong}")
    return expression


def _count(until: Until) -> int:
    """0: any."""
    if until.once and until.count not in (None, 1):
        raise ValueError(f"--once is -n 1; expected one of both, not -n {until.count} as well")
    if until.count is not None and until.count < 1:
        raise ValueError(f"-n: {until.count} is no number of events; expected 1 or more")
    return 1 if until.once else until.count or 0


def _seconds(until: Until) -> float:
    """0: no limit."""
    if until.timeout is None:
        return 0.0
    if not 0 < until.timeout < float("inf"):
        raise ValueError(f"--timeout: {until.timeout:g} is no number of seconds; expected 1.5, say")
    return until.timeout


def _rate(rate: int | None) -> int:
    if rate is None:
        return TERMINAL_RATE if sys.stdout.isatty() else PIPE_RATE
    if rate < 1:
        raise ValueError(f"--rate: {rate} is no number of events a second; expected 1 or more")
    return rate


def _lines(of: EventType, catalog: Catalog, form: Form, part: Partition) -> Lines:
    """Of the events of the worker that has this part."""
    from microbox.cli.event_columns import chosen, columns
    from microbox.cli.event_lines import CsvLines, FieldLines, JsonLines, TextLines
    from microbox.runtime.partition import partitions

    if form.json and form.csv:
        raise ValueError("--json and --csv are two forms; expected one of them")
    fields = chosen(form.field, of, catalog, part.worker)
    if form.json:
        return JsonLines(fields, part.worker)
    if form.csv:
        return CsvLines(fields or columns(of, part.worker))
    if fields:
        return FieldLines(fields)
    in_terminal = sys.stdout.isatty()
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    in_colour = in_terminal and not is_plain
    last = partitions(part.count)[-1]
    worker = "" if part.is_whole else f"{part.worker:{len(last.worker)}}"
    return TextLines(of, catalog, worker=worker, in_terminal=in_terminal, in_colour=in_colour)


# --- what comes of it ---


def _watch(control: Path, lines: Sequence[Lines], wanted: Wanted, reading: Reading) -> int:
    """`lines`: of each worker."""
    from microbox.cli.observation import Place
    from microbox.cli.watching import View

    if reading.skips:  # of a busy machine it takes what the chain leaves
        os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)
    place = Place(skips=reading.skips, deadline=0.0 if reading.skips else DEADLINE)
    view = View(wanted, lines[0].header)
    outcome = _outcome(control, view, lines, wanted, place)
    view.end()
    return outcome if isinstance(outcome, int) else _status(view, wanted, outcome)


def _outcome(
    control: Path, view: View, lines: Sequence[Lines], wanted: Wanted, place: Place
) -> str | int:
    """How it ended; or the exit status, when it was said what is wrong."""
    from microbox.cli.observation import observe
    from microbox.cli.watching import watcher

    if len(lines) > 1:
        from microbox.cli.watched_workers import watch_each

        return watch_each(control, view, lines, wanted, place)
    found = observe(control, watcher(wanted, view, lines[0], view.give_up), "watch", place)
    return found if isinstance(found, int) else found.outcome


def _status(view: View, wanted: Wanted, outcome: str) -> int:
    """0 where all came that was asked for, or enough for somebody who named no number."""
    from microbox.cli.main import FINE, INTERRUPTED

    if view.is_complete:
        return FINE
    came = f"{view.shown:,} of {wanted.number:,} events" if wanted.number else "no event"
    if view.timed_out and (wanted.number or not view.shown):
        print(f"{came} came within {wanted.seconds:g} s", file=sys.stderr)
        return TIMED_OUT
    if not wanted.number:
        return FINE
    if outcome == "finished":
        print(f"{came} came before the run ended", file=sys.stderr)
        return ENDED
    return INTERRUPTED
