"""Where a run's logs go. What is there is kept: a new directory is made beside it."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

DEFAULT = Path("microbox-logs")
WRITTEN_BY_A_RUN = ("*.jsonl", "summary.json")


def make_log_directory(wanted: Path, *, overwrite: bool) -> Path:
    """Makes `wanted`, or `wanted`.1, .2, … where that has something in it. Raises OSError.

    With `overwrite` it is `wanted` itself, without the logs that an earlier run left there.
    """
    if overwrite:
        wanted.mkdir(parents=True, exist_ok=True)
        for pattern in WRITTEN_BY_A_RUN:
            for file in wanted.glob(pattern):
                file.unlink()
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if _make(wanted) or (wanted.is_dir() and not any(wanted.iterdir())):
        return wanted
    return next(
        candidate
        for number in itertools.count(1)
        if _make(candidate := wanted.with_name(f"{wanted.name}.{number}"))
    )


def remove_if_empty(directory: Path) -> None:
    """For a run that never started."""
    with contextlib.suppress(OSError):
        directory.rmdir()


def _make(directory: Path) -> bool:
    """True when it is ours alone: made just now."""
    try:
        directory.mkdir()
    except FileExistsError:
        return False
    return True
