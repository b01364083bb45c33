"""What may happen to packets on their way."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from microbox.testing import Packet, Traffic, interleaved, merged

LETTERS = Traffic.of(b"a", b"b", b"c", b"d", start=0, spacing=10)
MANY = Traffic.of(*(bytes([one]) for one in range(200)), start=0, spacing=10)


def text(traffic: Traffic) -> str:
    return b"".join(one.data for one in traffic).decode()


def times(traffic: Traffic) -> list[int]:
    return [one.time for one in traffic]


def test_packets_are_lost_repeated_and_put_in_another_order() -> None:
    assert text(LETTERS.without(1, -1)) == "ac"
    again = LETTERS.with_again(0, after=2)
    assert (text(again), times(again)) == ("abcad", [0, 10, 20, 20, 30])
    other = LETTERS.in_order(3, 0, 1, 2)
    assert (text(other), times(other)) == ("dabc", [0, 10, 20, 30])
    assert text(LETTERS.changing(1, lambda frame: frame.upper())) == "aBcd"
    assert text(LETTERS) == "abcd"


def test_time_is_under_control() -> None:
    assert times(LETTERS.spaced(1.5))[1] == 1_500_000_000
    assert times(LETTERS.later(2))[0] == 2_000_000_000


def test_parts_are_merged_by_time_and_interleaved_by_turn() -> None:
    late = Traffic.of(b"x", b"y", start=15, spacing=10)
    assert text(merged(LETTERS, late)) == "abxcyd"
    together = interleaved(LETTERS, late)
    assert text(together) == "axbycd"
    assert times(together)[1] - times(together)[0] == 1_000_000
    assert interleaved(LETTERS, late, seed=3) == interleaved(LETTERS, late, seed=3)
    assert merged() == interleaved() == []


@given(st.integers(0, 1000), st.floats(0, 1), st.integers(1, 10))
def test_chance_follows_from_the_seed_and_invents_nothing(seed: int, share: float, by: int) -> None:
    lossy = MANY.losing(share, seed=seed)
    assert lossy == MANY.losing(share, seed=seed)
    assert [one for one in MANY if one in lossy] == lossy
    repeated = MANY.repeating(share, seed=seed)
    assert set(Counter(repeated).values()) <= {1, 2}
    late = MANY.reordering(share, by=by, seed=seed)
    assert Counter(one.data for one in late) == Counter(one.data for one in MANY)
    assert times(late) == times(MANY)
    assert all(place - late_by(late, one) <= by for place, one in enumerate(MANY))


def late_by(late: Traffic, packet: Packet) -> int:
    return [one.data for one in late].index(packet.data)


def test_none_and_all() -> None:
    assert MANY.losing(0) == MANY.repeating(0) == MANY.reordering(0) == MANY
    assert MANY.losing(1) == []
    assert len(MANY.repeating(1)) == 400
