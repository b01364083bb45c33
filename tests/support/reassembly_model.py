"""What reassembly should do, slowly and obviously: a dictionary of bytes, each with its segment.

Positions count bytes of the stream from 0. Nothing here knows of sequence numbers, records, lists
or frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

HOLES_PER_PACKET = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes from `begin` on. The capture has the first of them; None stands for the others."""

    begin: int
    content: tuple[int | None, ...]

    @property
    def end(self) -> int:
        return self.begin + len(self.content)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a segment lies, as a policy sees it."""

    begin: int
    end: int


KEEPS_NEW: dict[str, Callable[[Extent, Segment], bool]] = {
    "first": lambda _held, _new: False,
    "last": lambda _held, _new: True,
    "bsd": lambda held, new: new.begin < held.begin,
    "windows": lambda held, new: new.begin < held.begin,
    "linux": lambda held, new: (
        new.begin < held.begin or (new.begin == held.begin and new.end > held.end)
    ),
    "solaris": lambda held, new: (
        new.end > held.end or (new.end == held.end and new.begin <= held.begin)
    ),
}


@dataclass(slots=True)
class Limits:
    """Of both sides together."""

    segments: int = 256
    bytes: int = 1 << 20
    acknowledgments: int = 3
    timeout: int = 30_000_000_000


@dataclass(slots=True)
class Side:
    """One direction of a connection."""

    policy: str
    output: list[bytes | int] = field(default_factory=list)  # a number is a gap
    given: int = 0  # bytes given out, gaps included
    sent: int = 0  # the highest position sent
    owner: dict[int, Segment] = field(default_factory=dict)  # of each byte that is held
    acknowledged: int = 0  # packets that acknowledged the hole
    waits_since: int = 0
    turn: int = 0  # who began to wait first

    def pieces(self) -> list[tuple[int, int]]:
        """What is held, as runs of bytes of one segment."""
        runs: list[tuple[int, int]] = []
        for at in sorted(self.owner):
            if runs and runs[-1][1] == at and self.owner[at - 1] is self.owner[at]:
                runs[-1] = (runs[-1][0], at + 1)
            else:
                runs.append((at, at + 1))
        return runs

    def extent(self, segment: Segment) -> Extent:
        """Linux judges by what came, others by what is left."""
        if self.policy == "linux":
            return Extent(segment.begin, segment.end)
        held = [at for at, owner in self.owner.items() if owner is segment]
        return Extent(min(held), max(held) + 1)

    def first_held(self) -> int:
        return min(self.owner)

    def give_out(self, segment: Segment, begin: int, end: int) -> None:
        """Bytes of a segment, which are next."""
        content = segment.content[begin - segment.begin : end - segment.begin]
        captured = bytes(byte for byte in content if byte is not None)
        if captured:
            self._say(captured)
        self.given += len(captured)
        if len(captured) < len(content):
            self.give_up(end)

    def give_up(self, end: int) -> None:
        """A gap."""
        self.output.append(end - self.given)
        self.given = end

    def _say(self, captured: bytes) -> None:
        if self.output and isinstance(self.output[-1], bytes):
            self.output[-1] += captured
        else:
            self.output.append(captured)


class Connection:
    """Both sides, and what they share."""

    def __init__(self, policies: tuple[str, str], limits: Limits) -> None:
        self.sides = (Side(policies[0]), Side(policies[1]))
        self.limits = limits
        self._turns = 0

    # --- packets ---

    def data(self, direction: int, segment: Segment, now: int) -> None:
        """A segment comes."""
        side = self.sides[direction]
        side.sent = max(side.sent, segment.end)
        self._take(side, segment, now)
        self._expire(now)

    def acknowledgment(self, direction: int, position: int, now: int) -> None:
        """The receiver of `direction` says that it has all before `position`."""
        side = self.sides[direction]
        if side.owner and side.first_held() <= position <= side.sent:
            side.acknowledged += 1
            if side.acknowledged >= self.limits.acknowledgments:
                self._give_up_hole(side, now)
        self._expire(now)

    def end(self) -> None:
        """The flow ends: nothing more comes."""
        for side in self.sides:
            while side.owner:
                self._give_up_hole(side, 0)

    # --- what they do ---

    def _take(self, side: Side, segment: Segment, now: int) -> None:
        begin = segment.begin
        while True:
            begin = max(begin, side.given)
            if begin >= segment.end:
                return
            if self._has_to_split(side, segment, begin) and self._room() < 2:
                self._make_room(side, begin, now)
                continue
            held_before = bool(side.owner)
            self._remove_losers(side, segment, begin)
            run = self._first_free_run(side, segment, begin)
            if run is None:
                return
            if run[0] == side.given:
                side.give_out(segment, *run)
                if held_before:
                    self._drain(side, now)
            elif self._room() < 1 or self._held_bytes() + run[1] - run[0] > self.limits.bytes:
                self._make_room(side, run[0] if not side.owner else begin, now)
                continue
            else:
                if not held_before:
                    self._wait(side, now)
                side.owner.update((at, segment) for at in range(*run))
            begin = run[1]

    def _has_to_split(self, side: Side, segment: Segment, begin: int) -> bool:
        """The new copy lies in the midst of a held piece, and wins."""
        return any(
            piece[0] < begin and segment.end < piece[1] and self._wins(side, segment, piece[0])
            for piece in side.pieces()
        )

    def _wins(self, side: Side, segment: Segment, at: int) -> bool:
        return KEEPS_NEW[side.policy](side.extent(side.owner[at]), segment)

    def _remove_losers(self, side: Side, segment: Segment, begin: int) -> None:
        covered = [at for at in range(begin, segment.end) if at in side.owner]
        losers = [at for at in covered if self._wins(side, segment, at)]
        for at in losers:
            del side.owner[at]

    def _first_free_run(self, side: Side, segment: Segment, begin: int) -> tuple[int, int] | None:
        free = (at for at in range(begin, segment.end) if at not in side.owner)
        first = next(free, None)
        if first is None:
            return None
        end = first
        while end < segment.end and end not in side.owner:
            end += 1
        return first, end

    def _make_room(self, side: Side, begin: int, now: int) -> None:
        if side.owner and side.first_held() <= begin:
            self._give_up_hole(side, now)
        else:
            side.give_up(begin)

    def _give_up_hole(self, side: Side, now: int) -> None:
        side.give_up(side.first_held())
        self._drain(side, now)

    def _drain(self, side: Side, now: int) -> None:
        """Held pieces that are next now. The stream waits anew, if it does."""
        for begin, end in side.pieces():
            if begin != side.given:
                break
            segment = side.owner[begin]
            for at in range(begin, end):
                del side.owner[at]
            side.give_out(segment, begin, end)
        side.acknowledged = 0
        self._wait(side, now)

    def _wait(self, side: Side, now: int) -> None:
        self._turns += 1
        side.turn = self._turns
        side.waits_since = now

    def _expire(self, now: int) -> None:
        for _ in range(HOLES_PER_PACKET):
            waiting = sorted(
                (side for side in self.sides if side.owner), key=lambda side: side.turn
            )
            if not waiting or now - waiting[0].waits_since < self.limits.timeout:
                return
            self._give_up_hole(waiting[0], now)

    def _room(self) -> int:
        return self.limits.segments - sum(len(side.pieces()) for side in self.sides)

    def _held_bytes(self) -> int:
        return sum(len(side.owner) for side in self.sides)


__all__ = ["KEEPS_NEW", "Connection", "Limits", "Segment"]
