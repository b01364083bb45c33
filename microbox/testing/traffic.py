"""Traffic: packets with times, and what may happen to them on the way.

Every method gives new traffic. What is left to chance follows from a seed, so that a test sees the
same packets every time.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

START = 1_700_000_000_000_000_000
"""Time of the first packet, unless said otherwise: nanoseconds since the epoch."""

SPACING = 1_000_000
"""Nanoseconds between two packets, unless said otherwise."""

NANOSECONDS = 1_000_000_000
FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)  # Ethernet, nanoseconds


class Packet(NamedTuple):
    """A frame at a time."""

    time: int  # nanoseconds since the epoch
    data: bytes


class Traffic(list[Packet]):
    """A list of packets. Compares with lists: `assert result.output == traffic[:3]`."""

    @classmethod
    def of(cls, *frames: object, start: int = START, spacing: int = SPACING) -> Traffic:
        """Frames (bytes, or what gives bytes, such as layers), `spacing` nanoseconds apart."""
        return cls(
            Packet(start + number * spacing, bytes(frame))  # type: ignore[call-overload]
            for number, frame in enumerate(frames)
        )

    def without(self, *numbers: int) -> Traffic:
        """Without these packets (from 0; negative ones count from the end): they were lost."""
        lost = {number % len(self) for number in numbers}
        return Traffic(one for number, one in enumerate(self) if number not in lost)

    def with_again(self, number: int, after: int) -> Traffic:
        """Packet `number` comes a second time behind packet `after`, at its time."""
        copies = list(self)
        at = after % len(self)
        copies.insert(at + 1, Packet(self[at].time, self[number].data))
        return Traffic(copies)

    def in_order(self, *numbers: int) -> Traffic:
        """The packets in another order, each number once; times stay where they are."""
        if sorted(numbers) != list(range(len(self))):
            raise ValueError(f"expected each of the numbers 0 to {len(self) - 1} once")
        return self._at_same_times([self[number] for number in numbers])

    def losing(self, share: float, *, seed: int = 0) -> Traffic:
        """Without a share of the packets, each lost by itself."""
        chance = random.Random(seed)
        return Traffic(one for one in self if chance.random() >= share)

    def repeating(self, share: float, *, seed: int = 0) -> Traffic:
        """With a share of the packets twice, the copy right behind."""
        chance = random.Random(seed)
        return Traffic(
            copy for one in self for copy in [one] * (2 if chance.random() < share else 1)
        )

    def reordering(self, share: float, *, by: int = 3, seed: int = 0) -> Traffic:
        """With a share of the packets up to `by` places late; times stay where they are."""
        chance = random.Random(seed)
        places = [
            number + (chance.randint(1, by) + 0.5 if chance.random() < share else 0)
            for number in range(len(self))
        ]
        order = sorted(range(len(self)), key=places.__getitem__)
        return self._at_same_times([self[number] for number in order])

    def changing(self, number: int, change: Callable[[bytes], bytes]) -> Traffic:
        """With another frame in the place of packet `number`."""
        changed = Traffic(self)
        changed[number] = Packet(self[number].time, change(self[number].data))
        return changed

    def spaced(self, seconds: float) -> Traffic:
        """So many seconds from each packet to the next."""
        step = round(seconds * NANOSECONDS)
        start = self[0].time if self else START
        return Traffic(Packet(start + number * step, one.data) for number, one in enumerate(self))

    def later(self, seconds: float) -> Traffic:
        """All of it so many seconds later."""
        step = round(seconds * NANOSECONDS)
        return Traffic(Packet(one.time + step, one.data) for one in self)

    def write(self, path: str | Path) -> Path:
        """Writes a capture (pcap, Ethernet, nanoseconds); its path."""
        Path(path).write_bytes(self.capture())
        return Path(path)

    def capture(self) -> bytes:
        """The same as bytes."""
        records = (
            struct.pack("<IIII", *divmod(one.time, NANOSECONDS), len(one.data), len(one.data))
            + one.data
            for one in self
        )
        return FILE_HEADER + b"".join(records)

    def _at_same_times(self, packets: Sequence[Packet]) -> Traffic:
        return Traffic(
            Packet(place.time, one.data) for place, one in zip(self, packets, strict=True)
        )


def merged(*parts: Iterable[Packet]) -> Traffic:
    """All packets by their times; of the same time in the order of the parts."""
    return Traffic(sorted((one for part in parts for one in part), key=lambda one: one.time))


def interleaved(
    *parts: Iterable[Packet], seed: int | None = None, spacing: int = SPACING
) -> Traffic:
    """One packet of each part after the other, or each time of a part that chance picks; the order
    within a part stays. `spacing` nanoseconds apart, from the first time on."""
    waiting = [queue for queue in ([*part][::-1] for part in parts) if queue]
    start = min((queue[-1].time for queue in waiting), default=START)
    chance = None if seed is None else random.Random(seed)
    frames: list[bytes] = []
    while waiting:
        turn = list(waiting) if chance is None else [chance.choice(waiting)]
        frames += [queue.pop().data for queue in turn]
        waiting = [queue for queue in waiting if queue]
    return Traffic.of(*frames, start=start, spacing=spacing)
