"""The C core gives out what the slow model of reassembly gives out, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reassembly_model import KEEPS_NEW, Connection, Limits, Segment
from stack_driver import Stack, Subscription, cases, client_and_server
from stack_driver.hosts import Hosts
from stack_driver.packets import Frame

POLICIES = tuple(KEEPS_NEW)
LONGEST = 48  # positions that segments begin at
TIMEOUT = 1_000_000_000


@dataclass(frozen=True)
class Sends:
    """A segment. `differs`: its bytes are its own, not those of the true stream."""

    direction: int
    begin: int
    length: int
    cut: int
    differs: bool


@dataclass(frozen=True)
class Acknowledges:
    """The receiver of `direction` acknowledges."""

    direction: int
    position: int


@dataclass(frozen=True)
class Waits:
    """Longer than streams wait for missing bytes."""


Step = Sends | Acknowledges | Waits

directions = st.integers(0, 1)
steps = st.lists(
    st.one_of(
        st.builds(
            Sends,
            directions,
            st.integers(0, LONGEST),
            st.integers(1, 16),
            st.sampled_from((0, 0, 0, 0, 1, 5)),
            st.booleans(),
        ),
        # Edges that meet.
        st.builds(
            Sends,
            st.just(0),
            st.sampled_from((0, 2, 4, 6, 8)),
            st.sampled_from((2, 4, 6)),
            st.just(0),
            st.just(True),
        ),
        st.builds(Acknowledges, directions, st.integers(0, LONGEST + 20)),
        st.just(Waits()),
    ),
    max_size=30,
)
first_numbers = st.sampled_from((100, 0, 0xFFFFFFFF, 0xFFFFFFF0, 0xFFFFFFD0, 0x7FFFFFF0))


def content(step: Sends, number: int) -> bytes:
    if step.differs:
        return bytes([number]) * step.length
    return bytes(128 + at % 64 for at in range(step.begin, step.begin + step.length))


def is_keep_alive(side_sent: int, step: Sends) -> bool:
    """One byte before the next one asks for an answer, and is no data (RFC 9293 section 3.8.4)."""
    return step.length == 1 and step.begin == side_sent - 1


def run_both(
    plan: list[Step], policies: tuple[str, str], first: tuple[int, int], limits: Limits
) -> tuple[list[list[bytes | int]], list[list[bytes | int]]]:
    """What model and core give out of both sides."""
    client, server = client_and_server(first=first)
    model = Connection(policies, limits)
    hosts = (Hosts("10.0.0.2/32", policies[0]), Hosts("10.0.0.1/32", policies[1]))
    with Stack(
        [Subscription(("tcp.data", "tcp.gap"))],
        hosts=hosts,
        held_segments_per_flow=limits.segments,
        held_bytes_per_flow=limits.bytes,
        gap_acknowledgments=limits.acknowledgments,
        gap_timeout=limits.timeout,
    ) as stack:
        stack.send(client.syn(), server.syn(), client.ack())
        for number, step in enumerate(plan):
            now = stack.time
            match step:
                case Waits():
                    stack.advance(2 * TIMEOUT)
                case Acknowledges(direction, position):
                    receiver = (server, client)[direction]
                    stack.send(receiver.segment(at=receiver.sent, acknowledging=position))
                    model.acknowledgment(direction, position, now)
                case Sends(direction, begin, length, cut, _):
                    sender = (client, server)[direction]
                    if is_keep_alive(sender.sent, step):
                        continue
                    sender.sent = max(sender.sent, begin + length)
                    frame = sender.segment(data=content(step, number), at=begin, acknowledging=0)
                    captured = max(0, length - cut)
                    stack.send(Frame(frame[: len(frame) - length + captured], None, len(frame)))
                    known = content(step, number)[:captured]
                    segment = Segment(begin, (*known, *[None] * (length - captured)))
                    model.data(direction, segment, now)
        stack.finish()
        model.end()
        given = [stack.stream(direction) for direction in (0, 1)]
    return [side.output for side in model.sides], given


@settings(max_examples=cases(3000), deadline=None)
@given(steps, st.tuples(st.sampled_from(POLICIES), st.sampled_from(POLICIES)), first_numbers)
def test_the_core_gives_out_what_the_model_does(
    plan: list[Step], policies: tuple[str, str], first: int
) -> None:
    limits = Limits(timeout=TIMEOUT)
    expected, given_out = run_both(plan, policies, (first, 300), limits)
    assert given_out == expected


@settings(max_examples=cases(2000), deadline=None)
@given(
    steps,
    st.tuples(st.sampled_from(POLICIES), st.sampled_from(POLICIES)),
    first_numbers,
    st.builds(
        Limits,
        segments=st.integers(1, 5),
        bytes=st.integers(4, 40),
        acknowledgments=st.integers(1, 4),
        timeout=st.just(TIMEOUT),
    ),
)
def test_limits_give_up_the_holes_that_the_model_gives_up(
    plan: list[Step], policies: tuple[str, str], first: int, limits: Limits
) -> None:
    expected, given_out = run_both(plan, policies, (300, first), limits)
    assert given_out == expected


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_decides_about_an_overlap_on_either_side(policy: str) -> None:
    """The example of Novak and Sturges' paper in short: one old segment, new ones around it."""
    for begin in (2, 4, 6):
        for end in (8, 10, 12):
            plan: list[Step] = [
                Sends(0, 4, 6, 0, differs=True),
                Sends(0, begin, end - begin, 0, differs=True),
                Sends(0, 0, 2, 0, differs=True),
                Sends(0, 2, 2, 0, differs=True),
            ]
            expected, given_out = run_both(plan, (policy, "first"), (100, 300), Limits())
            assert given_out == expected
