"""`microbox run`: runs a chain on a capture, in the foreground."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from microbox.chain.errors import ChainErrors
from microbox.chain.listening import Address
from microbox.chain.load import load_chain
from microbox.chain.model import Chain, Overrides
from microbox.cli.log_format import Format, Message, MessageLog, chosen, of_chain_error
from microbox.cli.overriding import AS_WRITTEN, Overriding
from microbox.runtime.accounts.report import RunReport
from microbox.runtime.service_manager import ServiceManager

if TYPE_CHECKING:
    from microbox.chain.plan import Plan


def _is_address(_: object, text: str | None) -> None:
    """Raises ValueError."""
    if text is not None:
        Address.parse(text)


@Parameter(name="*")
@dataclass(frozen=True)
class Showing:
    """What is shown of a run."""

    json: Annotated[bool, Parameter(negative=())] = False
    """Print the summary as one JSON document."""

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative=())] = False
    """Show neither progress nor summary; what NFs print, warnings and errors still appear."""

    log_format: Format | None = None
    """How messages on stderr are written: text for people, JSON lines, or for the journal of
    systemd; by default the journal's where stderr leads there, else text."""

    metrics: Annotated[str | None, Parameter(validator=_is_address)] = None
    """Serve metrics for Prometheus at this port, whatever the chain file says: 9090 for this
    machine alone, 0.0.0.0:9090 for all that reach it; 0 is any that is free."""


@Parameter(name="*")
@dataclass(frozen=True)
class Changing:
    """How the run is otherwise than it would be."""

    count: Annotated[
        int | None, Parameter(name=["--count", "-c"], validator=validators.Number(gte=1))
    ] = None
    """Stop after so many packets."""

    pace: Annotated[float | None, Parameter(validator=validators.Number(gte=0.001, lte=1e6))] = None
    """Replay at this multiple of the speed at which the packets were captured, such as 1 or 10,
    instead of as fast as can be."""

    write: Annotated[Path | None, Parameter(name=["--write", "-w"])] = None
    """Write the logs into this directory. One that has files in it is kept, and a new one made
    beside it."""

    overwrite: Annotated[bool, Parameter(negative=())] = False
    """Write over the logs of an earlier run."""

    utc: Annotated[bool, Parameter(negative=())] = False
    """Write times in logs as UTC text instead of seconds since the epoch."""


def run(
    chain: Path,
    /,
    *,
    overriding: Overriding = AS_WRITTEN,
    changing: Changing = Changing(),
    showing: Showing = Showing(),
) -> int:
    """Run a chain of NFs on a capture.

    Parameters
    ----------
    chain
        The chain file (YAML).
    """
    # Imported here, so that other verbs start quickly.
    from microbox.cli.main import WRONG
    from microbox.runtime.errors import RunError

    service_manager = ServiceManager.of_environment(os.environ)  # before anything is started
    log = _message_log(chain, showing)
    overrides = overriding.overrides(log_directory=changing.write, utc=changing.utc or None)
    prepare = partial(_prepared, chain, overrides)
    try:
        return _run(
            load_chain(chain, overrides), changing, showing, Around(service_manager, log, prepare)
        )
    except ChainErrors as errors:
        found = _all_errors(prepare) or errors
        if log is None:
            raise found from None
        for error in found.errors:
            log.write(of_chain_error(error))
        return WRONG
    except RunError as error:
        _complain("error", str(error), log, error.detail)
        return error.status


def _message_log(chain: Path, showing: Showing) -> MessageLog | None:
    """None: messages are text for people."""
    form = chosen(showing.log_format, os.environ)
    return None if form == "text" else MessageLog(form, str(chain))


def _prepared(chain: Path, overrides: Overrides) -> Plan:
    """The plan of the chain file as it is now. Raises ChainErrors, with all that is wrong."""
    from microbox.chain.describe import describe_all
    from microbox.chain.prepare import prepare
    from microbox.runtime.processes.validation import from_child

    return prepare(chain, partial(describe_all, decode=from_child), overrides)


def _all_errors(prepare: Callable[[], Plan]) -> ChainErrors | None:
    """All that is wrong with a chain, as `microbox check` says it: a run ends at the first part
    that is wrong."""
    try:
        prepare()
    except ChainErrors as errors:
        return errors
    return None


def _note(log: MessageLog | None, text: str) -> None:
    if log is not None:
        log.write(Message("notice", text))
    else:
        print(f"microbox: {text}", file=sys.stderr, flush=True)


def _complain(level: str, text: str, log: MessageLog | None, detail: str = "") -> None:
    from microbox.runtime.processes.supervisor import printable

    if log is not None:
        lines = [printable(line) for line in detail.splitlines()]
        log.write(Message(level, printable(" ".join(text.split())), {"traceback": lines}))
        return
    lines = [*f"{level}: {text}".splitlines(), *(f"  {line}" for line in detail.splitlines())]
    for line in lines:
        print(printable(line), file=sys.stderr)


@dataclass(frozen=True, slots=True)
class Around:
    """What a run has to do with beside its chain."""

    service_manager: ServiceManager
    log: MessageLog | None  # None: messages are text for people
    read_anew: Callable[[], Plan]  # of the chain file


def _run(chain: Chain, changing: Changing, showing: Showing, around: Around) -> int:
    import uvloop

    from microbox._core import lib
    from microbox.cli.progress import Display
    from microbox.cli.reading import reading_to_the_end
    from microbox.runtime.controller import run_chain
    from microbox.runtime.descriptors import provide_descriptors
    from microbox.runtime.inputs.several_captures import open_input
    from microbox.runtime.outputs.log_directory import remove_if_empty
    from microbox.runtime.running import RunOptions

    log = around.log
    lib.mb_become_undumpable()  # an NF of the same user must not reach the controller
    provide_descriptors(len(chain.nfs), chain.workers)
    waiting = reading_to_the_end(partial(_note, log)) if chain.input.is_piped else nullcontext()
    with waiting:
        capture = open_input(
            chain.input, chain.input_bytes_max, streams=chain.may_stream and not changing.pace
        )
    try:
        directory = _log_directory(chain, changing)
        options = RunOptions(
            capture,
            directory,
            changing.count or 0,
            pace=round((changing.pace or 0) * 1000),
            read_anew=around.read_anew,
            metrics=Address.parse(showing.metrics) if showing.metrics else chain.metrics,
            service_manager=around.service_manager,
        )
        try:
            with Display(is_quiet=showing.quiet, stdout_is_taken=showing.json, log=log) as display:
                report = uvloop.run(run_chain(chain, options, display))
                signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is over: the rest is told
        except BaseException:
            remove_if_empty(directory)
            raise
    finally:
        capture.close()
    return _show(report, directory, showing, log)


def _log_directory(chain: Chain, changing: Changing) -> Path:
    from microbox.runtime.errors import USAGE, RunError
    from microbox.runtime.outputs.log_directory import DEFAULT, make_log_directory

    wanted = chain.log_directory or DEFAULT
    try:
        return make_log_directory(wanted, overwrite=changing.overwrite)
    except OSError as error:
        raise RunError(
            f"{wanted}: cannot be the directory for logs: {error.strerror}", status=USAGE
        ) from None


def _show(report: RunReport, directory: Path, showing: Showing, log: MessageLog | None) -> int:
    """Writes summary.json, prints the summary; the exit status."""
    from microbox.cli.summary import print_summary
    from microbox.cli.terminal import console, is_lost_output
    from microbox.runtime.errors import FAILED

    status = report.status
    summary = directory / "summary.json"
    try:
        summary.write_text(report.to_summary_json(), encoding="utf-8")
    except OSError as error:
        _complain("error", f"{summary}: cannot be written: {error.strerror}", log)
        report.status = status = status or FAILED
    try:
        if showing.json:
            sys.stdout.write(report.to_json())
        elif not showing.quiet:
            print_summary(report, console())
        sys.stdout.flush()
    except OSError as error:
        if not is_lost_output(error):
            raise
        status = status or (0 if error.errno == errno.EPIPE else FAILED)
    for warning in report.warnings:
        _complain("warning", warning, log)
    if report.error:
        _complain("error", report.error, log)
    return status
