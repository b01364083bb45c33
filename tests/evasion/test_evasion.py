"""Published attacks on passive stacks: each meets the right answer, however packets are batched and
shared out among workers, and harms nobody else's flow.

`attacks/` has them; docs/evasion.md is the list for people, written by `python -m attacks`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from attacks import ATTACKS, LIST, Attack, Pieces, Right, Scene, listing
from stack_driver import Entry, Packed, Stack, Subscription

FEWEST = 60
INNOCENT = ("10.9.0.1", "10.9.0.2")
SENT = (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nwhole")
NOT_ABOUT_PACKETS = ("system.checkpoint", "system.end_of_input")


@dataclass
class Played:
    """What came of an attack."""

    entries: list[Entry] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    published: Counter[str] = field(default_factory=Counter)
    counters: Counter[str] = field(default_factory=Counter)
    innocent: set[int] = field(default_factory=set)  # numbers of the flows that are no attack's
    workers: int = 0

    def add(self, stack: Stack) -> None:
        """What one worker said."""
        self.entries += stack.entries
        self.workers += 1
        self.reasons += Counter(stack.reasons)
        self.published += Counter(stack.published)
        self.counters += Counter(vars(stack.counters))

    def stream(self, direction: int, *, innocent: bool = False) -> list[bytes | int]:
        """One side's pieces, of the attack's flows or of the innocent ones, in order."""
        pieces: list[bytes | int] = []
        for one in self.entries:
            if one.direction != direction or (one.flow in self.innocent) is not innocent:
                continue
            if one.type == "flow.tcp.gap":
                pieces.append(one.length)
            elif one.type == "flow.tcp.data" and pieces and isinstance(pieces[-1], bytes):
                pieces[-1] += one.data
            elif one.type == "flow.tcp.data":
                pieces.append(one.data)
        return pieces

    def of_attack(self, name: str) -> list[Entry]:
        return [one for one in self.entries if one.type == name and one.flow not in self.innocent]


def converse(scene: Scene, port: int) -> Iterator[None]:
    """A whole connection of two innocent hosts, a step at a time."""
    client, server = scene.open(port, addresses=INNOCENT)
    yield
    scene.send(client.data(SENT[0]), server.ack())
    scene.send(server.data(SENT[1]), client.ack())
    scene.send(client.fin(), server.fin(), client.ack())
    yield


@functools.cache
def staged(attack: Attack) -> tuple[Packed, Right]:
    """The attack amid a connection that was open before; then one that opens after it."""
    scene = Scene()
    open_before = converse(scene, 2000)
    next(open_before)
    right = attack.make(scene)
    next(open_before)
    for _ in converse(scene, 2001):
        continue
    return scene.packed(), right


def play(attack: Attack, workers: int, batch: int) -> Played:
    """Runs it with each worker a stack of its own, and their events merged by packet."""
    frames, _ = staged(attack)
    played = Played()
    for worker in range(workers):
        config = {**attack.config, "worker": worker, "workers": workers}
        with Stack([Subscription(filter=attack.wants)], batch=batch, **config) as stack:
            stack.send_packed(frames)
            stack.finish()
        played.add(stack)
    played.entries.sort(key=lambda one: one.packet)
    starts = (one for one in played.entries if one.type == "flow.tcp.start")
    played.innocent = {one.flow for one in starts if one.source in INNOCENT}
    return played


def said(played: Played) -> list[str]:
    """The events, but for those that each worker has of its own."""
    return sorted(repr(one.key()) for one in played.entries if one.type not in NOT_ABOUT_PACKETS)


def assert_right(right: Right, played: Played) -> None:
    assert_stream(right.client, played, 0)
    assert_stream(right.server, played, 1)
    for name, count in right.counted.items():
        assert played.reasons[name] == count if count is not None else played.reasons[name], name
    for name, count in right.published.items():
        found = len(played.of_attack(f"flow.{name}")) or played.published[name]
        assert found == count if count is not None else found, name
    for name in right.never:
        assert not played.reasons[name], name
        assert not played.of_attack(f"flow.{name}"), name
    for name, most in right.at_most.items():
        assert played.counters[name] <= most * played.workers, name
    if right.ends is not None:
        ends = sorted(one.reason for one in played.of_attack("flow.tcp.end"))
        assert ends == sorted(right.ends)
    if right.datagrams is not None:
        datagrams = [one.data for one in played.of_attack("flow.udp.datagram")]
        assert datagrams == list(right.datagrams)


def assert_stream(right: Pieces | None, played: Played, direction: int) -> None:
    if right is not None:
        assert played.stream(direction) == list(right)


def assert_innocent_unharmed(played: Played) -> None:
    for direction in (0, 1):
        assert played.stream(direction, innocent=True) == [SENT[direction] * 2]


def by_name(attack: Attack) -> str:
    return f"{attack.group}: {attack.name}"


WAYS = [(1, 256), (1, 1), (2, 256), (2, 1)]


@pytest.mark.parametrize("attack", ATTACKS, ids=by_name)
def test_attack(attack: Attack) -> None:
    """Right with 1 and 2 workers, with packets one by one and in batches; and always the same,
    except where each worker meets limits of its own."""
    right = staged(attack)[1]
    all_played = [play(attack, *way) for way in WAYS]
    for played in all_played:
        assert_right(right, played)
        assert_innocent_unharmed(played)
    first, *others = all_played
    if not any(reason.startswith("limit.") for reason in first.reasons):
        for played in others:
            assert said(played) == said(first)


def test_the_list_is_long_enough() -> None:
    assert len(ATTACKS) >= FEWEST


def test_the_list_for_people_is_up_to_date() -> None:
    assert LIST.read_text() == listing(), "run: make evasion-list"
