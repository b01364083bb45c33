"""The log of an NF that is several instances: each writes a part, which are one file at the end.

A line of a part begins with its place (32 digits in hexadecimal, a space): the position in the
worker's log that caused it, then who published what caused it. Places never go back. So what is
merged is in the order in which one instance would have written it. Where a run was cut off before
that, `sort` does the same:

    LC_ALL=C sort -m -s -k1,1 ids.*.part | cut -c 34- > ids.jsonl
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from microbox.chain.model import ChainNF

PLACE_SIZE = 32
LINE_MAX = 1 << 24  # bytes; who writes a longer line breaks it here


def log_name(nf: ChainNF) -> str:
    """Name of the file that an NF's process writes."""
    return f"{nf.name}.part" if nf.spread else f"{nf.name}.jsonl"


def merge_parts(directory: Path, nfs: Iterable[ChainNF]) -> list[str]:
    """Makes each log of its parts, which are removed then. Returns what went wrong, in sentences;
    those parts are left as they are."""
    parts: dict[str, list[Path]] = {}
    for nf in nfs:
        if nf.spread and _has_lines(directory / log_name(nf)):
            parts.setdefault(nf.entry, []).append(directory / log_name(nf))
    complaints = []
    for entry, paths in parts.items():
        log = directory / f"{entry}.jsonl"
        try:
            _merge(paths, log)
        except OSError as error:
            with contextlib.suppress(OSError):
                log.unlink(missing_ok=True)
            complaints.append(
                f"{log} cannot be written: {error.strerror}; its lines are in {entry}.*.part"
            )
            continue
        for path in paths:
            path.unlink()
    return complaints


def _has_lines(part: Path) -> bool:
    return part.exists() and part.stat().st_size > 0


def _merge(parts: list[Path], log: Path) -> None:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(part.open("rb")) for part in parts]
        merged = stack.enter_context(log.open("wb"))
        lines = heapq.merge(*map(_lines, opened), key=lambda line: line[:PLACE_SIZE])
        merged.writelines(line[PLACE_SIZE + 1 :] for line in lines)


def _lines(part: BinaryIO) -> Iterator[bytes]:
    while line := part.readline(LINE_MAX):
        yield line
