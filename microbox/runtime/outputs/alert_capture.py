"""The packets that caused alerts, each with its alerts as comments: made of the log of alerts and
the capture that the run read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from microbox._core import ffi, lib
from microbox.nf.record_forms import ALERT, eve_severity
from microbox.runtime.errors import InputError
from microbox.runtime.outputs.pcapng import CommentedPacket, PcapngWriter

SEVERITIES = {1: "information", 2: "notice", 3: "warning", 4: "critical"}
FRAMES = 256  # that are read at once


@dataclass(frozen=True, slots=True)
class AlertPackets:
    """What was written."""

    alerts: int
    packets: int


def alert_comments(logs: Iterable[Path]) -> dict[int, list[str]]:
    """The alerts of such logs, in sentences, by the number of the packet that caused them. Raises
    InputError, with the line that is none of an alert log's."""
    comments: dict[int, list[str]] = {}
    for log in logs:
        for number, line in enumerate(_lines(log), 1):
            try:
                packet, comment = _comment(json.loads(line))
            except (KeyError, TypeError, ValueError, RecursionError):
                raise InputError(
                    f"{log}:{number}: is no line of an alert log that says the alert's packet; "
                    "expected what `alert_log` writes"
                ) from None
            comments.setdefault(packet, []).append(comment)
    return comments


def write_alert_packets(
    comments: Mapping[int, Sequence[str]], capture: int, name: str, file: BinaryIO
) -> AlertPackets:
    """Writes those packets of a capture, in its order. `capture`: its descriptor, which stays the
    caller's. Raises InputError where it has fewer packets than the alerts name."""
    writer = PcapngWriter(file)
    left = sorted(comments, reverse=True)
    for number, frame, data in _frames(capture, name, left):
        writer.write(
            CommentedPacket(
                number, frame.time, frame.link_type, data, frame.wire_length, comments[number]
            )
        )
    if left:
        raise InputError(
            f"{name}: has no packet {left[-1]}, which caused an alert; expected the capture that "
            "the run read"
        )
    return AlertPackets(sum(map(len, comments.values())), len(comments))


def _frames(capture: int, name: str, left: list[int]) -> Iterator[tuple[int, Any, bytes]]:
    """The frames of these numbers, the smallest of which is last; each is taken off the list."""
    complaint = ffi.new("char[]", lib.MB_ERROR_SIZE)
    source = lib.mb_source_open(capture, os.fsencode(name), complaint)
    if source == ffi.NULL:
        raise InputError(ffi.string(complaint).decode(errors="replace"))
    try:
        pool = lib.mb_source_pool(source)
        frames = ffi.new("struct mb_frame[]", FRAMES)
        read = 0
        while left and (count := lib.mb_source_read(source, frames, FRAMES)):
            while left and left[-1] <= read + count:
                number = left.pop()
                frame = frames[number - read - 1]
                yield number, frame, bytes(ffi.buffer(pool + frame.offset, frame.length))
            read += count
    finally:
        lib.mb_source_close(source)


def _lines(log: Path) -> Iterator[str]:
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            yield from lines
    except OSError as error:
        raise InputError(f"{log}: {error.strerror}") from None


def _comment(row: Any) -> tuple[int, str]:
    """Of a line in either form (nf/record_forms.py)."""
    said = row.get(ALERT, row)
    packet, severity = said["packet"], said["severity"]
    if not isinstance(packet, int) or packet < 1:
        raise ValueError("no number of a packet")
    word = SEVERITIES[severity if said is row else eve_severity(severity)]
    shadow = ", in shadow" if said.get("in_shadow") is True else ""
    signature = f" {said['signature']}" if said["signature"] else ""
    return packet, f"{said['nf']}{signature} ({word}{shadow}): {said['message']}"
