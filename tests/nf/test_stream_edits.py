"""`event.edit(payload=...)` on bytes of streams: whatever comes how often, its receiver gets the
edited stream."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import ClassVar

import pytest

from microbox import DROP_FLOW, RESET, Event, NetworkFunction, Verdict, on
from microbox.testing import Result, RunFailed, run_nf
from tests.nf.conftest import MakeCapture, udp
from tests.nf.lossy_tcp import ACK, connection, frame

SIZE = 20_000
SECOND = 1_000_000_000


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


def followed(capture: Path) -> bytes:
    """What tshark puts together of the server's stream, in which it indents each line."""
    command = ["tshark", "-n", "-r", str(capture), "-q", "-z", "follow,tcp,raw,0"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return b"".join(bytes.fromhex(line) for line in lines if line.startswith("\t"))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("seed", range(4))
def test_tshark_puts_the_edited_stream_together(capture: MakeCapture, seed: int) -> None:
    frames = connection(stream_of(seed), seed)
    assert followed(capture(frames)) == stream_of(seed)
    result = run_nf(Digits, capture(frames))
    assert followed(capture([one.data for one in result.output])) == masked(stream_of(seed))


class Longer(NetworkFunction):
    """Wants to say more than there is room for."""

    @on("tcp.data")
    def add(self, event: Event) -> None:
        """At once."""
        event.edit(payload=bytes(event.data) + b"!")


def test_a_stream_that_would_grow_is_refused_with_what_it_takes(capture: MakeCapture) -> None:
    with pytest.raises(RunFailed, match=r"tcp\.splice or tcp\.proxy, which are not built yet"):
        run_nf(Longer, capture(connection(b"text", 1)))


class Shouter(NetworkFunction):
    """Edits all that it sees, and counts it."""

    edits = "payload"

    @on("tcp.data")
    def shout(self, event: Event) -> None:
        """Whenever it is given out."""
        event.edit(payload=bytes(event.data).upper())

    @on("tcp.gap")
    def miss(self, event: Event) -> None:
        """The stream goes on behind a hole."""


def behind_a_hole(first: int) -> list[bytes]:
    """A connection in which the segment before `first` was never seen."""
    return [*connection(b"", 1)[:3], frame(ACK, first, 101, b"behind", 1234, back=True)]


@pytest.mark.parametrize("ends", ["by time", "with the input"])
def test_bytes_behind_a_hole_are_edited_when_they_are_given_out(
    capture: MakeCapture, ends: str
) -> None:
    """Which is before they leave: when the hole's time is over, or the input is."""
    frames = behind_a_hole(510)
    later = [udp(b"much later")] if ends == "by time" else []
    result = run_nf(Shouter, capture([*frames, *later], spacing=20 * SECOND))
    assert [one.data[54:] for one in result.output if b"BEHIND" in one.data] == [b"BEHIND"]
    assert len(result.output) == len(frames) + len(later)


class Stars(NetworkFunction):
    """An editor behind the first one."""

    edits = "payload"

    @on("tcp.data")
    def mask(self, event: Event) -> None:
        """Sees what the first one left."""
        assert bytes(event.data).isupper()
        event.edit(payload=b"*", payload_offset=1)


class Guard(NetworkFunction):
    """Drops the flow for what only the two editors together make of its bytes."""

    edits = ""

    @on("tcp.data")
    def look(self, event: Event) -> Verdict | None:
        """For the second piece."""
        return DROP_FLOW if bytes(event.data) == b"S*COND" else None


class Reset(NetworkFunction):
    """Resets at the first bytes."""

    edits = ""

    @on("tcp.data")
    def look(self, _event: Event) -> Verdict:
        """Whatever they are."""
        return RESET


@pytest.mark.parametrize("ends", ["by time", "with the input"])
def test_editors_and_a_dropper_follow_each_other_behind_a_hole(
    capture: MakeCapture, ends: str
) -> None:
    """Each sees what the ones in front left, and a verdict holds for the bytes that still wait."""
    pieces = [(510, b"behind"), (516, b"second"), (522, b"third")]
    opening = connection(b"", 1)[:3]
    held = [frame(ACK, at, 101, data, 1234, back=True) for at, data in pieces]
    later = [udp(b"later")] * 4 if ends == "by time" else []
    frames = capture([*opening, *held, *later], spacing=8 * SECOND)
    edited = run_nf([Shouter, Stars], frames)
    assert [data for _, data in segments_of(edited)] == [b"B*HIND", b"S*COND", b"T*IRD"]
    guarded = run_nf([Shouter, Stars, Guard], frames)
    assert [data for _, data in segments_of(guarded)] == [b"B*HIND"]
    assert len(guarded.output) == len(opening) + 1 + len(later)


def test_a_reset_for_bytes_given_out_by_time_drops_the_flow(capture: MakeCapture) -> None:
    """No packet of the flow is in hand, in whose place RSTs could leave."""
    frames = [*behind_a_hole(510), udp(b"much later")]
    result = run_nf([Shouter, Reset], capture(frames, spacing=20 * SECOND))
    assert [one.data for one in result.output] == [*frames[:3], frames[-1]]
    assert (result.counters["resets_made"], result.counters["resets_not_made"]) == (0, 1)


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
