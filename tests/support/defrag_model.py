"""What defragmentation should do, slowly and obviously: a dictionary of bytes with their fragments.

Nothing here knows of frames, lists of pieces or hash tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

UNIT = 8
NOT_TAKEN = "fragment.limit"


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """Bytes from `begin` on of the datagram's payload."""

    begin: int
    content: bytes
    has_more: bool

    @property
    def end(self) -> int:
        return self.begin + len(self.content)


class Run(NamedTuple):
    """Bytes side by side that are of one fragment."""

    begin: int
    end: int


WINS: dict[str, Callable[[Fragment, Run], bool]] = {
    "first": lambda _new, _old: False,
    "last": lambda _new, _old: True,
    "bsd": lambda new, old: new.begin < old.begin,
    "linux": lambda new, old: new.begin <= old.begin,
    "windows": lambda new, old: new.begin < old.begin and new.end > old.end,
    "solaris": lambda new, old: new.begin < old.begin and new.end >= old.end,
}


class Incomplete(NamedTuple):
    """A datagram that was given up."""

    key: int
    reason: str
    received: int
    fragments: int
    has_first: bool
    has_last: bool


@dataclass(slots=True)
class Datagram:
    """What came of one so far."""

    began: int
    state: str = "collecting"  # or "refused", "whole"
    owner: dict[int, Fragment] = field(default_factory=dict)  # of each byte that came
    length: int = 0
    has_last: bool = False
    fragments: int = 0
    overlapped: int = 0

    def runs(self) -> list[Run]:
        found: list[Run] = []
        for at in sorted(self.owner):
            if found and found[-1].end == at and self.owner[at - 1] is self.owner[at]:
                found[-1] = Run(found[-1].begin, at + 1)
            else:
                found.append(Run(at, at + 1))
        return found

    def byte(self, at: int) -> int:
        return self.owner[at].content[at - self.owner[at].begin]

    def is_complete(self) -> bool:
        return self.has_last and len(self.owner) == self.length


class Defragmentation:
    """Datagrams of a receiver with one policy, by a key. `pieces`: that one may have."""

    def __init__(self, policy: str, pieces: int, timeout: int) -> None:
        self.policy = policy
        self.pieces = pieces
        self.timeout = timeout
        self.datagrams: dict[int, Datagram] = {}  # the one that began first is first
        self.incomplete: list[Incomplete] = []
        self.whole: list[bytes] = []
        self.reasons: list[str] = []  # of each fragment

    def take(self, key: int, fragment: Fragment, now: int, *, is_ipv6: bool) -> None:
        """A fragment comes. What is overdue goes behind it, but for what it would belong to."""
        reason = self._misfit(fragment, is_ipv6=is_ipv6)
        if reason == "none":
            self._expire(now, [key])
            reason = self._add(key, self._trimmed(fragment, is_ipv6=is_ipv6), now, is_ipv6=is_ipv6)
        self.reasons.append(reason)
        self._expire(now, self.datagrams)

    def end(self) -> None:
        """The input is over."""
        for key in list(self.datagrams):
            self._forget(key, "shutdown")

    def _trimmed(self, fragment: Fragment, *, is_ipv6: bool) -> Fragment:
        if is_ipv6 or self.policy != "linux" or not fragment.has_more:
            return fragment
        whole = len(fragment.content) // UNIT * UNIT
        return Fragment(fragment.begin, fragment.content[:whole], has_more=True)

    def _misfit(self, fragment: Fragment, *, is_ipv6: bool) -> str:
        trimmed = self._trimmed(fragment, is_ipv6=is_ipv6)
        if not trimmed.content:
            return "fragment.zero_length"
        if fragment.has_more and len(trimmed.content) % UNIT:
            return "fragment.length"
        return "none"

    def _expire(self, now: int, keys: Iterable[int]) -> None:
        for key in list(keys):
            datagram = self.datagrams.get(key)
            if datagram is not None and now - datagram.began > self.timeout:
                self._forget(key, "fragment.timeout")

    def _forget(self, key: int, reason: str) -> None:
        datagram = self.datagrams.pop(key)
        if datagram.state == "collecting":
            self._give_up(key, datagram, reason)

    def _give_up(self, key: int, datagram: Datagram, reason: str) -> None:
        has_first = 0 in datagram.owner
        self.incomplete.append(
            Incomplete(
                key,
                reason,
                len(datagram.owner),
                datagram.fragments,
                has_first,
                datagram.has_last,
            )
        )

    def _add(self, key: int, fragment: Fragment, now: int, *, is_ipv6: bool) -> str:
        datagram = self.datagrams.get(key)
        if datagram is None or datagram.state == "whole":
            self.datagrams.pop(key, None)
            datagram = self.datagrams[key] = Datagram(now)
        datagram.fragments += 1
        if datagram.state == "refused":
            return "fragment.refused"
        if self._contradicts_end(datagram, fragment):
            return "fragment.end"
        overlap = self._overlap(datagram, fragment)
        if overlap == NOT_TAKEN:
            return overlap
        if is_ipv6 and overlap not in {"none", "fragment.duplicate"}:
            self._give_up(key, datagram, overlap)
            datagram.state = "refused"
            return overlap
        if overlap != "fragment.duplicate" and not self._insert(datagram, fragment):
            return NOT_TAKEN
        datagram.has_last |= not fragment.has_more
        datagram.length = max(datagram.length, fragment.end)
        if datagram.is_complete():
            self.whole.append(bytes(datagram.byte(at) for at in range(datagram.length)))
            self.datagrams[key] = self.datagrams.pop(key)
            datagram.began = now
            datagram.state = "whole"
        return overlap

    @staticmethod
    def _contradicts_end(datagram: Datagram, fragment: Fragment) -> bool:
        if datagram.has_last and fragment.has_more:
            return fragment.end > datagram.length
        if datagram.has_last:
            return fragment.end != datagram.length
        return not fragment.has_more and fragment.end < datagram.length

    def _overlap(self, datagram: Datagram, fragment: Fragment) -> str:
        """What the fragment says that was said before."""
        over = [
            run for run in datagram.runs() if run.begin < fragment.end and fragment.begin < run.end
        ]
        if not over:
            return "none"
        if datagram.overlapped >= self.pieces:
            return NOT_TAKEN
        datagram.overlapped += len(over)
        if any(
            datagram.byte(at) != byte
            for at, byte in enumerate(fragment.content, fragment.begin)
            if at in datagram.owner
        ):
            return "fragment.overlap_inconsistent"
        if over[0] == (fragment.begin, fragment.end):
            return "fragment.duplicate"
        if over[0].begin < fragment.begin and fragment.end < over[0].end:
            return "fragment.teardrop"
        return "fragment.overlap"

    def _insert(self, datagram: Datagram, fragment: Fragment) -> bool:
        """False: too many pieces would be left."""
        before = dict(datagram.owner)
        runs = datagram.runs()
        for at in range(fragment.begin, fragment.end):
            run = next((run for run in runs if run.begin <= at < run.end), None)
            if run is None or WINS[self.policy](fragment, run):
                datagram.owner[at] = fragment
        if len(datagram.runs()) > self.pieces:
            datagram.owner = before
            return False
        return True
