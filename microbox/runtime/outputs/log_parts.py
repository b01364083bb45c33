"""The log of an NF that is several processes: each writes a part, which are one file at the end.

A line of a part begins with its place (64 digits in hexadecimal, a space): the packet that caused
it and the order among what comes with that packet, as one worker has it; then the position in its
worker's log, and who published there what caused it. Places never go back. So what is merged is in
the order in which one process would have written it. Parts that were moved while the run went on
(logrotate) keep these places, and are left out. For them, and where a run was cut off before its
end, `sort` does the same:

    LC_ALL=C sort -m -s -k1,1 ids.*.part | cut -c 66- > ids.jsonl
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from microbox.chain.model import ChainNF
from microbox.chain.plan import PlannedNF
from microbox.runtime.partition import WHOLE, Partition

PLACE_SIZE = 64
LINE_MAX = 1 << 24  # bytes; who writes a longer line breaks it here


def writes_part(nf: ChainNF | PlannedNF, partition: Partition = WHOLE) -> bool:
    """True where others write to the same log."""
    return nf.spread is not None or not partition.is_whole


def log_name(nf: ChainNF | PlannedNF, partition: Partition = WHOLE) -> str:
    """Name of the file that an NF's process writes."""
    if not writes_part(nf, partition):
        return f"{nf.name}.jsonl"
    worker = "" if partition.is_whole else f".worker-{partition.index + 1}"
    return f"{nf.name}{worker}.part"


def merge_parts(
    directory: Path, nfs: Iterable[ChainNF | PlannedNF], lanes: Sequence[Partition] = (WHOLE,)
) -> list[str]:
    """Makes each log of its parts, which are removed then. Returns what went wrong, in sentences;
    those parts are left as they are."""
    parts: dict[str, list[Path]] = {}
    for nf, lane in itertools.product(nfs, lanes):
        if writes_part(nf, lane) and _has_lines(directory / log_name(nf, lane)):
            parts.setdefault(nf.entry, []).append(directory / log_name(nf, lane))
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
