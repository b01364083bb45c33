"""Errors of a chain on the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbox.chain.errors import ChainError


def complain(errors: Sequence[ChainError]) -> None:
    """Prints all errors to stderr, one a line, tracebacks indented below theirs."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for error in errors:
        place, _, message = str(error).partition(": ")
        console.print(Text(f"{place}: ", style="bold"), Text(message), sep="", end="\n")
        for line in error.detail.rstrip().splitlines():
            console.print(Text(f"    {line}", style="dim"))
    if len(errors) > 1:
        console.print(Text(f"{len(errors)} errors", style="red"))


def as_json(error: ChainError) -> dict[str, Any]:
    """Stable keys: file, line, column, message, hint, detail."""
    return {
        "file": error.file,
        "line": error.line,
        "column": error.column,
        "message": error.message,
        "hint": error.hint,
        "detail": error.detail,
    }
