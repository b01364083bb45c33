"""`event.edit(payload=...)` on bytes of streams: whatever comes how often, its receiver gets the
edited stream."""

from __future__ import annotations

import random
import struct
from typing import ClassVar

import pytest

from microbox import DROP_FLOW, Event, NetworkFunction, Verdict, on
from microbox.testing import Result, run_nf
from tests.nf.conftest import MakeCapture
from tests.nf.lossy_tcp import ACK, connection, frame

SIZE = 20_000


def stream_of(seed: int) -> bytes:
    """Text with digits in it."""
    generator = random.Random(-seed)
    return bytes(generator.choice(b"abcdefgh 0123456789\n") for _ in range(SIZE))


class Digits(NetworkFunction):
    """Writes over digits."""

    edits = "payload"

    @on("tcp.data")
    def mask(self, event: Event) -> None:
        """All of the event's bytes at once."""
        data = bytes(event.data)
        event.edit(payload=bytes(35 if 48 <= one <= 57 else one for one in data))


class Vowels(NetworkFunction):
    """Another editor: what it sees has no digits any more."""

    edits = "payload"

    @on("tcp.data")
    def mask(self, event: Event) -> None:
        """One by one."""
        data = bytes(event.data)
        assert not any(48 <= one <= 57 for one in data)
        for at, one in enumerate(data):
            if one in b"ae" and at % 7 == 0:
                event.edit(payload=b"*", payload_offset=at)


class Reader(NetworkFunction):
    """Sees what is left."""

    edits = ""
    seen: ClassVar[bytearray] = bytearray()

    def start(self) -> None:
        """Begins anew."""
        self.seen.clear()

    @on("tcp.data")
    def read(self, event: Event) -> None:
        """In order."""
        assert event.offset == len(self.seen)
        self.seen.extend(event.data)


class Censor(NetworkFunction):
    """Drops the flow for a word that is never whole in one segment."""

    edits = ""

    def start(self) -> None:
        """Nothing yet."""
        self.stream = b""

    @on("tcp.data")
    def look(self, event: Event) -> Verdict | None:
        """Looks at all that came."""
        self.stream += bytes(event.data)
        return DROP_FLOW if b"stop" in self.stream else None


def masked(stream: bytes) -> bytes:
    return bytes(35 if 48 <= one <= 57 else one for one in stream)


def segments_of(result: Result) -> list[tuple[int, bytes]]:
    """Sequence numbers and bytes of the server's segments in the output."""
    segments = []
    for one in result.output:
        ports, sequence = struct.unpack_from(">HxxI", one.data, 34)
        if ports == 80 and one.data[54:]:
            segments.append((sequence, one.data[54:]))
    return segments


@pytest.mark.parametrize("seed", range(12))
def test_the_receiver_gets_the_edited_stream_and_nothing_else(
    capture: MakeCapture, seed: int
) -> None:
    stream = stream_of(seed)
    frames = connection(stream, seed)
    result = run_nf([Digits, Reader], capture(frames))
    expected = masked(stream)
    assert bytes(Reader.seen) == expected
    segments = segments_of(result)
    first = segments[0][0]
    for at, data in segments:
        begin = (at - first) % 2**32
        assert data == expected[begin : begin + len(data)]
    assert len(result.output) == len(frames)


@pytest.mark.parametrize("seed", range(3))
def test_editors_follow_each_other(capture: MakeCapture, seed: int) -> None:
    frames = connection(stream_of(seed), seed)
    result = run_nf([Digits, Vowels, Reader], capture(frames))
    expected = bytes(Reader.seen)
    assert expected.count(b"*") > 100
    assert expected.replace(b"*", b"") != masked(stream_of(seed))
    first = segments_of(result)[0][0]
    for at, data in segments_of(result):
        begin = (at - first) % 2**32
        assert data == expected[begin : begin + len(data)]


def test_the_end_of_a_word_does_not_leave_before_its_beginning(capture: MakeCapture) -> None:
    """Its end is behind a hole, and would have left first."""
    opening = connection(b"", 1)
    end = frame(ACK, 502, 101, b"op, and more", 1234, back=True)
    beginning = frame(ACK, 500, 101, b"st", 1234, back=True)
    result = run_nf(Censor, capture([*opening[:3], end, beginning]))
    assert [one.data for one in result.output] == opening[:3]
