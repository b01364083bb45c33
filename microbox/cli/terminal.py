"""The console that verbs print with, and JSON for programs."""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

LOST = (errno.EPIPE, errno.ENOSPC, errno.EIO)
"""What it means that nobody can get what is written to stdout any more."""

PIPE_WIDTH = 120  # columns where the output is no terminal
ROW_WIDTH = 1000  # columns that no row of a table needs


def console(*, pipe_width: int = PIPE_WIDTH) -> Console:
    """Plain and wide enough where a program or a file reads it; with ROW_WIDTH a row of a table is
    a line there."""
    from rich.console import Console

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 (called where BrokenPipeError is handled; rich would exit)

    width = None if sys.stdout.isatty() else pipe_width
    return Ours(highlight=False, width=width)


def open_closed_streams() -> None:
    """Puts /dev/null where stdin, stdout or stderr is closed, so that no other file gets its
    number, and what is printed there goes nowhere."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def is_lost_output(error: OSError) -> bool:
    """True where `error` says that stdout takes no more, which is then given up: nothing is left
    to be written at the exit. A reader that has enough, as `head`, is no failure."""
    if error.errno not in LOST:
        return False
    give_up(sys.stdout)
    if error.errno != errno.EPIPE:
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
    return True


def give_up(stream: TextIO) -> None:
    """Nobody takes what is written there: it goes nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def print_json(value: Any) -> None:
    """One document, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
