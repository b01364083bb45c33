"""The tracker and its model agree on random conversations, forged segments and all.

Offsets are drawn from what matters: right at, just beside, and far from what would be in order. So
a few segments have retransmissions, holes, wraps, crossing FINs, forged RSTs and SYNs.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from stack_driver import ACK, FIN, PSH, RST, SYN, Stack, cases, client_and_server
from tcp_model import Segment, Tracker

NUMBERS = st.sampled_from([0, 100, 0x7FFFFFF0, 0xFFFFFFF0, 0xFFFFFFFE])
SEQUENCE = st.sampled_from(
    [0] * 12
    + [-1, -1, -2, -5, -100, 1, 3, 10, 1000, 60_000, 70_000, 140_000, -70_000, 1 << 29, -(1 << 31)]
)
ACKNOWLEDGMENT = st.sampled_from(
    [0] * 12 + [-1, -3, -10, -1000, -70_000, 1, 5, 70_000, 140_000, 1 << 29, -(1 << 31)]
)
FLAGS = st.sampled_from([ACK] * 6 + [ACK | PSH] * 4 + [FIN | ACK] * 3 + [RST, RST | ACK, SYN])
LENGTH = st.sampled_from([0, 0, 0, 1, 1, 2, 5, 10, 100])
WINDOW = st.sampled_from([65535] * 6 + [0, 1, 50, 1000])
ACTIONS = st.lists(
    st.tuples(st.integers(0, 1), FLAGS, SEQUENCE, ACKNOWLEDGMENT, LENGTH, WINDOW), max_size=24
)


def segment_of(tracker: Tracker, action: tuple[int, int, int, int, int, int]) -> Segment:
    """An action's numbers count from where its sender and its receiver are."""
    side, flags, sequence, acknowledgment, length, window = action
    sender, receiver = tracker.sides[side], tracker.sides[1 - side]
    return Segment(
        side,
        flags,
        (sender.next + sequence) % (1 << 32),
        (receiver.next + acknowledgment) % (1 << 32),
        length,
        window,
    )


def says_nothing_clear(tracker: Tracker, segment: Segment) -> bool:
    """A SYN that repeats the first one, or opens a connection after this one."""
    sender, other = tracker.sides[segment.side], tracker.sides[1 - segment.side]
    is_repeated = (segment.sequence + 1 - sender.initial) % (1 << 32) == 0
    both_closed = sender.fin_is_believed and other.fin_is_believed
    return bool(segment.flags & SYN) and (is_repeated or both_closed or tracker.ended)


def of_model(tracker: Tracker) -> list[tuple[str, int, int]]:
    return [
        (side.state, side.next % (1 << 32), side.acknowledged % (1 << 32)) for side in tracker.sides
    ]


@settings(max_examples=cases(2000), deadline=None)
@given(NUMBERS, NUMBERS, ACTIONS)
def test_the_tracker_is_what_its_model_is(
    first: int, second: int, actions: list[tuple[int, int, int, int, int, int]]
) -> None:
    ends = client_and_server(first=(first, second))
    tracker = Tracker()
    tracker.open(first, second)
    expected, told = [of_model(tracker)], []
    frames = [ends[0].syn(), ends[1].syn(), ends[0].ack()]
    for action in actions:
        segment = segment_of(tracker, action)
        if says_nothing_clear(tracker, segment):
            continue
        told += [(len(frames) + 1, name) for name in tracker.take(segment)]
        expected.append(of_model(tracker))
        frames.append(
            ends[segment.side].segment(
                segment.flags,
                b"x" * segment.length,
                sequence=segment.sequence,
                acknowledgment=segment.acknowledgment,
                window=segment.window,
            )
        )
    with Stack(gap_acknowledgments=255) as stack:  # holes stay, so it is known what fills them
        stack.send(*frames)
        before = [one for one in stack.events("packet.ip.tcp") if one.flow in (0, 1)][3:]
        found = [[(s.state, s.next, s.acknowledged) for s in one.sides] for one in before]
        assert found == expected[: len(found)]
        assert [
            (one.packet, one.type.removeprefix("flow.tcp.anomaly."))
            for one in stack.events("tcp.anomaly", flow=1)
        ] == told
