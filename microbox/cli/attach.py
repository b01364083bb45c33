"""`microbox attach`: runs an NF in this terminal, on the events of a chain that runs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from microbox.cli.run_names import find_run

if TYPE_CHECKING:
    from microbox.channel.messages import Join
    from microbox.nf.attached import Results, Terminal


@Parameter(name="*")
@dataclass(frozen=True)
class Being:
    """What the NF is."""

    name: str = ""
    """Its name in the chain, which is also that of its log; without it the file's."""

    parameter: Annotated[list[str], Parameter(name=["--parameter", "-p"], negative=())] = (
        dataclasses.field(default_factory=list)
    )
    """A parameter of the NF, as NAME=VALUE; the value as in a chain file. May be repeated."""

    sandbox: Literal["on", "off"] = "on"
    """Off: it has all rights of this user."""


@Parameter(name="*")
@dataclass(frozen=True)
class Standing:
    """Where it stands in the chain, and what it does there."""

    stage: Literal["first", "last"] = "last"
    """Last: it sees what all NFs that may drop or edit leave of the traffic. First: it waits for
    nobody but those whose events it reads."""

    after: Annotated[list[str], Parameter(negative=())] = dataclasses.field(default_factory=list)
    """It waits for this NF, and those whom that waits for, in place of a stage. May be repeated."""

    catch_up: Literal["flows"] | None = None
    """It is first told of the flows that there are, each by a flow.present."""

    on_lag: Literal["block", "skip"] = "block"
    """What happens when it is too slow: the chain waits for it, or it loses events."""

    on_error: Literal["stop", "skip"] = "stop"
    """What happens when a handler raises: the NF ends, or goes on with the next event."""

    on_failure: Literal["open", "closed"] = "open"
    """What happens to packets of an NF that may drop them when it is gone: all pass, or none."""

    deadline: str = ""
    """How long it may stand still while it has something to read, such as 2s; then it is killed.
    Without it, for ever while there is input."""


def attach(
    nf: str,
    /,
    *,
    run: str = "",
    being: Being = Being(),
    standing: Standing = Standing(),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Run an NF in this terminal, on the events of a chain that runs. Ctrl-C ends it in order.

    Parameters
    ----------
    nf
        The NF's file, in Python or C, or the name of a built-in one.
    run
        The run, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one chain runs.
    json
        Print what it did as one JSON document to stdout; what the NF prints goes to stderr.
    """
    from microbox.cli.attached_replicas import attach_each
    from microbox.cli.replicas import workers_of
    from microbox.runtime.control.control_socket import ControlError
    from microbox.runtime.errors import FAILED, USAGE

    try:
        join = _join(nf, being, standing)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    found = find_run(run, "attach")
    if isinstance(found, int):
        return found
    try:
        workers = workers_of(found[1])
        if workers == 1:
            return _attach(found[1], join, _terminal(join.name, as_json=json))
    except ControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return attach_each(found[1], join, workers, _terminal(join.name, as_json=json))


def _attach(control: Path, join: Join, terminal: Terminal) -> int:
    """This process is the NF from here on. Raises ControlError."""
    from microbox.channel.channel import Channel
    from microbox.nf.attached import AttachedNF
    from microbox.runtime.control.attach_socket import connect
    from microbox.runtime.control.control_socket import attach_path

    with Channel(connect(attach_path(control))) as channel:
        return AttachedNF(channel, join, terminal).run()


# --- what is asked for ---


def _join(nf: str, being: Being, standing: Standing) -> Join:
    """Raises ValueError, with a sentence."""
    from microbox.channel.messages import Join

    source = _source(nf)
    return Join(
        name=_name(being.name or source.stem),
        source=str(source),
        parameters=_parameters(being.parameter),
        base=str(Path.cwd()),
        after=_after(standing),
        on_error=standing.on_error,
        fails_closed=standing.on_failure == "closed",
        skips=standing.on_lag == "skip",
        catches_up=standing.catch_up == "flows",
        deadline=_seconds(standing.deadline) if standing.deadline else 0.0,
        is_confined=being.sandbox == "on",
    )


def _source(written: str) -> Path:
    from microbox.chain.errors import did_you_mean
    from microbox.chain.sources import built_in_names, built_in_source, is_path, no_built_in

    path = Path(written).absolute()
    if is_path(written):
        if path.is_file():
            return path
        what = "is a directory" if path.is_dir() else "does not exist"
        raise ValueError(f"'{written}' {what}; expected the file of an NF")
    built_in = built_in_source(written)
    if built_in is not None:
        return built_in
    hint = did_you_mean(written, built_in_names())
    if path.with_name(f"{written}.py").is_file():
        hint = f"did you mean './{written}.py'?"
    raise ValueError(f"{no_built_in(written)}{hint and f'; {hint}'}")


def _name(written: str) -> str:
    from microbox.chain.model import instance_name

    try:
        return instance_name(written)
    except ValueError as error:
        raise ValueError(
            f"--name: '{written}' is {error}; expected a name of letters, digits and _ . -"
        ) from None


def _parameters(written: Sequence[str]) -> dict[str, Any]:
    """Values as in a chain file: `5` is a number, `[a, b]` a list."""
    from microbox.chain.document import value_of
    from microbox.chain.errors import ChainErrors

    parameters = {}
    for one in written:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise ValueError(f"-p: '{one}' names no value; expected NAME=VALUE")
        try:
            parameters[name] = value_of(value)
        except ChainErrors as error:
            why = error.errors[0].message
            raise ValueError(f"-p: the value of '{name}' is no YAML: {why}") from None
    return parameters


def _after(standing: Standing) -> list[str] | None:
    if standing.after or standing.stage == "first":
        return list(standing.after)
    return None


def _seconds(written: str) -> float:
    from microbox.chain.supervision import seconds_of

    try:
        return seconds_of(written)
    except ValueError:
        raise ValueError(
            f"--deadline: '{written}' is no duration; expected one with its unit, such as 2s"
        ) from None


# --- what is shown ---


def _terminal(name: str, *, as_json: bool) -> Terminal:
    """What the NF prints is not to stand in the middle of the document."""
    from microbox.nf.attached import Terminal
    from microbox.runtime.membership.by_hand import at_events

    document = sys.stdout
    if as_json:
        sys.stdout = sys.stderr
    elif hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)

    def show(results: Results) -> None:
        text = _document(results) if as_json else _words(results)
        document.write(f"{text}\n")
        document.flush()

    def attached(heads: Sequence[int]) -> None:
        _say(f"{name} is attached, from {at_events(heads)} on; Ctrl-C detaches")

    def leaves() -> None:
        _say("leaves the chain (once more to end at once)")

    return Terminal(_say, attached, leaves, show)


def _say(text: str) -> None:
    """Past what is buffered: a signal may come while the NF prints."""
    rest = f"{text}\n".encode(errors="backslashreplace")
    with contextlib.suppress(OSError):  # nobody looks any more
        while rest:
            rest = rest[os.write(sys.stderr.fileno(), rest) :]


def _document(results: Results) -> str:
    """Stable keys: outcome, matched, handled, raised, lost, records, records_lost, log, summary."""
    import json

    row = dataclasses.asdict(results)
    last = row.pop("last")
    row |= {"records": last["records"], "records_lost": last["records_lost"]}
    return json.dumps(row | {"log": last["log_file"], "summary": last["summary"]}, indent=2)


def _words(results: Results) -> str:
    from microbox.cli.summary import summary_words

    last = results.last
    counts = [f"saw {results.matched:,} events", f"{results.handled:,} calls returned"]
    if results.raised:
        counts.append(f"{results.raised:,} raised")
    if results.lost:
        counts.append(f"{results.lost:,} events lost, being too slow (on_lag: skip)")
    if last.log_file:
        counts.append(f"{last.records:,} records in {last.log_file}")
    lines = (f"{results.outcome}: {', '.join(counts)}", summary_words(last.summary))
    return "\n".join(filter(None, lines))
