"""`microbox alerts`: a capture of the packets that caused alerts, with the alerts as comments."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import Parameter

ALERT_LOG = "alert_log.jsonl"
STDOUT = Path("-")


def alerts(
    *logs: Path,
    write: Annotated[Path, Parameter(alias="-w", allow_leading_hyphen=True)],
    read: Annotated[list[Path] | None, Parameter(alias="-r", negative=())] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write the packets that caused alerts to a capture (pcapng), each with its alerts as comments.

    For example: microbox alerts -w alerts.pcapng && tshark -r alerts.pcapng -V

    Parameters
    ----------
    logs
        The log directory of a run, or logs of alerts. By default the newest run's in this
        directory.
    write
        The capture to write; - is standard output.
    read
        The capture that the run read; several as the run was given them. By default the one that
        its summary names.
    json
        Print one JSON document.
    """
    from microbox.chain.model import Input
    from microbox.cli.main import FINE, WRONG
    from microbox.cli.terminal import print_json
    from microbox.runtime.errors import InputError
    from microbox.runtime.inputs.several_captures import open_input
    from microbox.runtime.outputs.alert_capture import alert_comments, write_alert_packets

    try:
        found = list(logs) or [_newest_directory()]
        comments = alert_comments(_log(one) for one in found)
        name = Input(tuple(read or [_input_of(found[0])]))
        capture = open_input(name).fd
        try:
            with _opened(write, capture) as file:
                written = write_alert_packets(comments, capture, str(name), file)
        finally:
            os.close(capture)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG
    if json and write != STDOUT:
        print_json({"file": str(write), "alerts": written.alerts, "packets": written.packets})
        return FINE
    said = f"{written.alerts:,} alerts of {written.packets:,} packets"
    if write == STDOUT:
        print(said, file=sys.stderr)
    else:
        print(f"{said} in {write}")
    return FINE


def _newest_directory() -> Path:
    from microbox.cli.events import newest_summary
    from microbox.runtime.errors import InputError

    summary = newest_summary(Path())
    if summary is None:
        raise InputError("no logs of a run are in this directory; say where: microbox alerts LOGS")
    return summary.parent


def _log(given: Path) -> Path:
    """A run without alerts has no log of them."""
    from microbox.runtime.errors import InputError

    if not given.is_dir():
        return given
    log = given / ALERT_LOG
    if not log.exists():
        raise InputError(
            f"{given}: has no {ALERT_LOG}; the run had no alerts, or these are no logs"
        )
    return log


def _input_of(given: Path) -> Path:
    """The capture that the run read, as its summary has it."""
    from microbox.runtime.errors import InputError

    summary = (given if given.is_dir() else given.parent) / "summary.json"
    try:
        file = json_module.loads(summary.read_bytes())["input"]["file"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{summary}: does not say what the run read; write -r CAPTURE") from None
    if not Path(file).exists():  # standard input, several captures, or one that was moved
        raise InputError(f"the run read {file}, which is no file here; write -r CAPTURE")
    return Path(file)


@contextmanager
def _opened(write: Path, capture: int) -> Iterator[BinaryIO]:
    """What cannot be finished is no capture of all alerts: it is removed."""
    from microbox.runtime.errors import InputError
    from microbox.runtime.inputs.capture import open_output

    if write == STDOUT:
        if sys.stdout.isatty():
            raise InputError("a capture is not for a terminal; write -w FILE, or a pipe behind it")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    output = open_output(write, capture)
    try:
        with os.fdopen(output, "wb") as file:
            yield file
    except InputError:
        write.unlink(missing_ok=True)
        raise
    except OSError as error:
        write.unlink(missing_ok=True)
        raise InputError(f"{write}: cannot be written: {error.strerror}") from None
