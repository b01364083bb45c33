"""The console that verbs print with, and JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 120  # columns where the output is no terminal


def console() -> Console:
    """Plain and wide enough where a program or a file reads it."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(highlight=False, width=width)


def print_json(value: Any) -> None:
    """One document, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
