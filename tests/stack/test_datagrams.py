"""Datagrams that were put together from fragments are as others, and as the slow model's."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from defrag_model import WINS, Defragmentation, Fragment, Incomplete
from hypothesis import given, settings
from hypothesis import strategies as st
from stack_driver import SECOND, WRONG, Stack, Subscription, cases, run
from stack_driver.hosts import Hosts
from stack_driver.packets import (
    ICMP,
    UDP,
    Datagram,
    Ethernet,
    ICMPv6,
    IPv4,
    IPv6,
    Layer,
    Packet,
    datagram,
)

DATA = bytes(range(40))
POLICIES = tuple(WINS)
UNIT = 8
UNITS = 7  # that fragments begin at
EXPERIMENTAL = 253  # RFC 3692: a protocol whose payload nobody looks into
IPV6_FROM = 3  # datagrams from this key on are IPv6


@pytest.mark.parametrize(
    ("network", "transport"),
    [(IPv4(), UDP()), (IPv4(options=b"\1\1\1\0"), ICMP()), (IPv6(), UDP()), (IPv6(), ICMPv6())],
    ids=lambda layer: type(layer).__name__,
)
def test_their_checksums_are_right(network: Layer, transport: Layer) -> None:
    frames = datagram(Ethernet() / network / transport / DATA).cut(16)
    stack = run(frames, checksums="drop")
    assert not stack.events("packet.malformed")
    assert [one.data for one in stack.events("udp.datagram", "icmp.message")] == [DATA]


def test_a_wrong_checksum_over_the_whole_is_found() -> None:
    frames = datagram(Ethernet() / IPv4() / UDP(checksum=WRONG) / DATA).cut(16)
    stack = run(frames, checksums="drop")
    assert [one.reason for one in stack.events("packet.malformed")] == ["udp.checksum"]


# --- against the model ---


@dataclass(frozen=True)
class Sends:
    """A fragment of datagram `key`. `differs`: its bytes are its own, not those of the true one."""

    key: int
    unit: int
    length: int
    is_last: bool
    differs: bool


@dataclass(frozen=True)
class Waits:
    """Longer than datagrams wait for missing fragments."""


Step = Sends | Waits

keys = st.integers(1, 4)
lengths = st.sampled_from((8, 8, 8, 8, 16, 16, 24, 40, 56, 0, 5, 12))
steps = st.lists(
    st.one_of(
        st.builds(Sends, keys, st.integers(0, UNITS), lengths, st.booleans(), st.booleans()),
        st.builds(
            Sends,
            st.just(1),
            st.integers(0, 3),
            st.sampled_from((8, 16)),
            st.just(value=False),
            st.booleans(),
        ),
        st.just(Waits()),
    ),
    max_size=24,
)


def cuttings() -> st.SearchStrategy[list[Step]]:
    """All fragments of one datagram, in any order, some of them twice."""
    return st.sets(st.integers(1, UNITS), min_size=1).flatmap(
        lambda cuts: st.permutations(fragments_between([0, *sorted(cuts), UNITS + 1])).flatmap(
            lambda whole: st.lists(st.sampled_from(whole), max_size=3).map(
                lambda again: [*again, *whole]
            )
        )
    )


def fragments_between(bounds: list[int]) -> list[Step]:
    """One from each bound to the next."""
    return [
        Sends(1, begin, UNIT * (end - begin), end == bounds[-1], differs=False)
        for begin, end in itertools.pairwise(bounds)
    ]


def fragment_of(step: Sends, number: int) -> Fragment:
    begin = UNIT * step.unit
    content = bytes([number]) * step.length
    if not step.differs:
        content = bytes(128 + at for at in range(begin, begin + step.length))
    # What begins at 0 and is the last one is no fragment.
    return Fragment(begin, content, has_more=not step.is_last or begin == 0)


def frame_of(key: int, fragment: Fragment) -> bytes:
    header = IPv6() if key >= IPV6_FROM else IPv4()
    whole = Datagram(Packet((Ethernet(),)), header, b"", EXPERIMENTAL, key)
    return whole.fragment_of(fragment.begin, fragment.content, more=fragment.has_more)


def missing_of(model: Defragmentation) -> list[tuple[int, Fragment]]:
    """What would make all datagrams whole."""
    found: list[tuple[int, Fragment]] = []
    for key, one in model.datagrams.items():
        if one.state != "collecting":
            continue
        holes = [at for at in range(0, one.length, UNIT) if at not in one.owner]
        found += [(key, Fragment(at, b"missing.", has_more=True)) for at in holes]
        if not one.has_last and one.length != 0:
            found.append((key, Fragment(one.length, b"the last", has_more=False)))
    return found


@dataclass
class Outcome:
    """What became of all fragments."""

    reasons: list[str]
    whole: list[bytes]
    incomplete: list[Incomplete]


def send(model: Defragmentation, stack: Stack, key: int, fragment: Fragment) -> None:
    model.take(key, fragment, stack.time, is_ipv6=key >= IPV6_FROM)
    stack.send(frame_of(key, fragment))


def run_both(plan: list[Step], policy: str, pieces: int) -> tuple[Outcome, Outcome]:
    """What model and core say."""
    model = Defragmentation(policy, pieces, SECOND)
    with Stack(
        [Subscription(("packet", "incomplete_datagram"))],
        hosts=[Hosts("0.0.0.0/0", fragments=policy)],
        fragment_timeout=SECOND,
        fragments_per_datagram=pieces,
    ) as stack:
        for number, step in enumerate(plan):
            if isinstance(step, Waits):
                stack.advance(2 * SECOND)
                continue
            send(model, stack, step.key, fragment_of(step, number))
        for key, fragment in missing_of(model):
            send(model, stack, key, fragment)
        stack.finish()
        model.end()
        packets = stack.events("packet")
        given_up = stack.events("incomplete_datagram")
    return Outcome(model.reasons, model.whole, model.incomplete), Outcome(
        [one.reason for one in packets if not one.fragments],
        [one.data for one in packets if one.fragments],
        [
            Incomplete(
                one.identification,
                one.reason,
                one.received,
                one.fragments,
                bool(one.has_first),
                bool(one.has_last),
            )
            for one in given_up
        ],
    )


policies = st.sampled_from(POLICIES)


@settings(max_examples=cases(1500), deadline=None)
@given(steps, policies, st.sampled_from((128, 128, 5, 3, 2)))
def test_the_core_does_what_the_model_does(plan: list[Step], policy: str, pieces: int) -> None:
    expected, given_out = run_both(plan, policy, pieces)
    assert given_out == expected


@settings(max_examples=cases(500), deadline=None)
@given(cuttings(), policies)
def test_a_datagram_is_whole_however_it_was_cut(plan: list[Step], policy: str) -> None:
    expected, given_out = run_both(plan, policy, 128)
    assert given_out == expected
    assert bytes(range(128, 128 + UNIT * (UNITS + 1))) in given_out.whole
