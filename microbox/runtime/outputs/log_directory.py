"""Where a run's logs go. What is there is kept: a new directory is made beside it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

DEFAULT = Path("microbox-logs")
SUMMARY = "summary.json"


def make_log_directory(wanted: Path, *, overwrite: bool) -> Path:
    """Makes `wanted`, or `wanted`.1, .2, … where that has something in it. Raises OSError.

    With `overwrite` it is `wanted` itself, without the logs that an earlier run left there.
    """
    if overwrite:
        wanted.mkdir(parents=True, exist_ok=True)
        for name in _written_by_a_run(wanted):
            (wanted / name).unlink(missing_ok=True)
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if _make(wanted) or (wanted.is_dir() and not any(wanted.iterdir())):
        return wanted
    wanted = _named(wanted)
    return next(
        candidate
        for number in itertools.count(1)
        if _make(candidate := wanted.with_name(f"{wanted.name}.{number}"))
    )


def remove_if_empty(directory: Path) -> None:
    """For a run that never started."""
    with contextlib.suppress(OSError):
        directory.rmdir()


def _written_by_a_run(directory: Path) -> Iterator[str]:
    """Names of the logs that an earlier run's summary lists, and of the summary. Whatever else is
    there is not a run's."""
    try:
        logs = json.loads((directory / SUMMARY).read_bytes())["logs"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    yield from (name for name in logs if Path(name).name == name)
    yield SUMMARY


def _named(directory: Path) -> Path:
    """The directory with a last part that others beside it can be called after."""
    if directory.name in ("", ".."):
        directory = directory.resolve()
    if not directory.name:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(directory))
    return directory


def _make(directory: Path) -> bool:
    """True when it is ours alone: made just now."""
    try:
        directory.mkdir()
    except FileExistsError:
        return False
    return True
