"""A capture that goes on and on: `python endless.py CAPTURE TIMES` writes it to standard output,
each time later than before, so that all of it is one capture in order of time.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FILE_HEADER = 24
RECORD_HEADER = 16
APART = 10_000
"""Seconds between two rounds: longer than any timeout, so that each is of flows of its own."""


def _places(octets: bytes) -> list[int]:
    """Where each record begins, of what follows the header."""
    places, at = [], 0
    while at < len(octets):
        places.append(at)
        at += RECORD_HEADER + int.from_bytes(octets[at + 8 : at + 12], "little")
    return places


def records(capture: bytes) -> list[bytes]:
    """Of a little-endian pcap capture."""
    octets = capture[FILE_HEADER:]
    places = [*_places(octets), len(octets)]
    return [octets[start:end] for start, end in itertools.pairwise(places)]


def rounds(capture: bytes, times: int) -> Iterator[bytes]:
    """Of a little-endian pcap capture: its header, then all records, as often."""
    octets = np.frombuffer(capture[FILE_HEADER:], np.uint8).copy()
    columns = np.array(_places(octets.tobytes()))[:, None] + np.arange(4)
    seconds = octets[columns].copy().view("<u4")[:, 0]
    yield capture[:FILE_HEADER]
    for turn in range(times):
        later = (seconds + turn * APART).astype("<u4")
        octets[columns] = later.view(np.uint8).reshape(-1, 4)
        yield octets.tobytes()


def main() -> None:
    """Until nobody reads."""
    capture = Path(sys.argv[1]).read_bytes()
    try:
        for piece in rounds(capture, int(sys.argv[2])):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    main()
