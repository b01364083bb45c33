"""`event.flow.unsubscribe(...)` and `subscribe(...)`: what comes then, and what it saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, ClassVar

import pytest

from microbox import PASS_FLOW, Event, NetworkFunction, on, on_batch
from microbox.nf.errors import DefinitionError
from microbox.testing import RunFailed, run_nf
from tests.nf.conftest import Frame, MakeCapture, connection, tcp, udp

DELAY = 16
STACK = {"command_delay": DELAY}
ACK = 0x10


class Seen(NetworkFunction):
    """Notes what comes."""

    def start(self) -> None:
        self.seen: list[Any] = []

    def finish(self) -> Mapping[str, Any]:
        return {"seen": self.seen}


def interleaved(*connections: list[Frame]) -> list[Frame]:
    """A packet of each in turn."""
    rounds = zip_longest(*connections)
    return [frame for frame in chain.from_iterable(rounds) if frame]


def conversation(segments: int) -> list[Frame]:
    """The client's segments, each answered by one of the server's."""
    frames = connection([])[:3]
    for n in range(segments):
        frames.append(tcp(ACK, 101 + n, 501 + n, b"c"))
        frames.append(tcp(ACK, 501 + n, 102 + n, b"s", back=True))
    return frames


class FirstBytes(Seen):
    """The first bytes of each connection; the rest is left out by the stack."""

    wanted: int = 10

    @on("tcp.data")
    def look(self, event: Event) -> None:
        self.seen.append((event.flow.id, event.offset, bytes(event.data)))
        if event.offset + len(event.data) >= self.wanted:
            event.flow.unsubscribe()


class FirstBytesIgnoringTheRest(Seen):
    """The same by looking away, of which the stack is not told."""

    commands: ClassVar = False
    wanted: int = 10

    @on("tcp.data")
    def look(self, event: Event) -> Any:
        self.seen.append((event.flow.id, event.offset, bytes(event.data)))
        return PASS_FLOW if event.offset + len(event.data) >= self.wanted else None


def test_who_unsubscribes_sees_what_one_sees_who_looks_away(capture: MakeCapture) -> None:
    connections = (connection([b"abcde"] * 50, port=1000 + n) for n in range(20))
    path = capture(interleaved(*connections))
    one = run_nf(FirstBytes, path, stack=STACK)
    other = run_nf(FirstBytesIgnoringTheRest, path, stack=STACK)
    assert one.summary == other.summary
    assert len(one.summary["seen"]) == 20 * 2
    assert other.counters["stream_bytes"] == 20 * 50 * 5
    assert one.counters["stream_bytes"] < other.counters["stream_bytes"] / 10
    assert one.counters["commands_obeyed"] == one.counters["module_changes"] == 20


def test_the_stack_obeys_just_after_the_delay(capture: MakeCapture) -> None:
    result = run_nf(FirstBytes, capture(connection([b"x"] * 100)), stack=STACK)
    assert result.counters["stream_bytes"] == 10 + DELAY - 1
    assert len(result.summary["seen"]) == 10


class Switching(Seen):
    """Bytes from a request in a datagram on, until another one."""

    @on("tcp.data", initially=False)
    def read(self, event: Event) -> None:
        self.seen.append((event.packet, event.direction, event.offset))

    @on("packet.ip.tcp")
    def count(self, event: Event) -> None:
        if event.packet == 20:
            event.flow.subscribe("tcp.data")
        if event.packet == 60:
            event.flow.unsubscribe("tcp.data", side="originator")


def test_what_is_subscribed_to_begins_after_the_delay_with_offsets_of_the_stream(
    capture: MakeCapture,
) -> None:
    seen = run_nf(Switching, capture(conversation(60)), stack=STACK).summary["seen"]
    assert seen[0] == (20 + DELAY, 0, (20 + DELAY - 4) // 2)
    packets = [packet for packet, _, _ in seen]
    assert packets == [*range(36, 60), *range(61, 124, 2)]
    for packet, direction, offset in seen:
        assert (direction, offset) == (packet % 2, (packet - 4) // 2)


def test_the_rest_of_an_nf_goes_on(capture: MakeCapture) -> None:
    class Reader(Seen):
        @on("tcp.data", switch=True)
        def look(self, event: Event) -> None:
            self.seen.append("bytes")
            event.flow.unsubscribe("tcp.data")

        @on("tcp.end")
        def end(self, event: Event) -> None:
            self.seen.append(str(event.reason))

    result = run_nf(Reader, capture(connection([b"x"] * 50)), stack=STACK)
    assert result.summary["seen"] == ["bytes", "fin"]


def test_a_flow_left_as_a_whole_is_over_for_the_nf(capture: MakeCapture) -> None:
    class Leaver(Seen):
        flow_state: ClassVar = dict

        @on("tcp")
        def look(self, event: Event) -> None:
            event.flow.state["seen"] = True
            self.seen.append(event.name)
            event.flow.unsubscribe()

    result = run_nf(Leaver, capture(connection([b"x"] * 50)), stack=STACK)
    assert result.summary["seen"] == ["flow.tcp.start"]
    assert result.counters["stream_bytes"] == DELAY - 3  # the handshake has none


def test_datagrams_are_left_too(capture: MakeCapture) -> None:
    class Leaver(Seen):
        @on("udp.datagram")
        def look(self, event: Event) -> None:
            self.seen.append(event.packet)
            event.flow.unsubscribe()

    frames = [udp(b"x", source_port=1 + n % 3) for n in range(90)]
    result = run_nf(Leaver, capture(frames), stack=STACK)
    assert result.summary["seen"] == [1, 2, 3]
    assert result.counters["entries"] <= 3 + DELAY + 2


# --- NFs behind ---


class Publisher(NetworkFunction):
    """Publishes the first bytes of a connection, then leaves it."""

    declares: ClassVar = {"tcp.data.opening": {"length": "u32"}}
    publishes: ClassVar = ["tcp.data.opening"]

    @on("tcp.data")
    def look(self, event: Event) -> None:
        self.publish("tcp.data.opening", event, length=len(event.data))
        if event.offset > 5:
            event.flow.unsubscribe()


class Follower(Seen):
    """Reads what is published."""

    declares: ClassVar = {"tcp.data.opening": {"length": "u32"}}

    @on("tcp.data.opening")
    def read(self, event: Event) -> None:
        self.seen.append((event.flow.id, event.offset))


def test_who_reads_a_publisher_keeps_no_flow_expensive_that_the_publisher_left(
    capture: MakeCapture,
) -> None:
    path = capture(connection([b"x"] * 200))
    result = run_nf([Publisher, Follower], path, stack=STACK)
    assert len(result.summary["seen"]) == 7
    assert result.counters["stream_bytes"] == 7 + DELAY - 1


def test_who_leaves_a_flow_hears_nothing_of_it_from_publishers(capture: MakeCapture) -> None:
    class Leaver(Follower):
        @on("tcp.data.opening")
        def read(self, event: Event) -> None:
            self.seen.append((event.flow.id, event.offset))
            event.flow.unsubscribe()

    class Talker(Publisher):
        @on("tcp.data")
        def look(self, event: Event) -> None:
            self.publish("tcp.data.opening", event, length=len(event.data))

    frames = interleaved(connection([b"x"] * 100), connection([b"y"] * 100, port=99))
    result = run_nf([Talker, Leaver], capture(frames), stack=STACK)
    assert result.summary["seen"] == [(1, 0), (2, 0)]


def test_what_is_published_can_be_switched(capture: MakeCapture) -> None:
    class Switcher(Follower):
        @on("tcp.data.opening", switch=True)
        def read(self, event: Event) -> None:
            self.seen.append(event.packet)
            event.flow.unsubscribe("tcp.data.opening")

        @on("tcp.start", "tcp.end")
        def other(self, event: Event) -> None:
            self.seen.append(event.name)

    class Talker(Publisher):
        @on("tcp.data")
        def look(self, event: Event) -> None:
            self.publish("tcp.data.opening", event, length=len(event.data))

    result = run_nf([Talker, Switcher], capture(connection([b"x"] * 100)), stack=STACK)
    assert result.summary["seen"] == ["flow.tcp.start", 4, "flow.tcp.end"]


# --- what is refused ---


def expect_refusal(
    capture: MakeCapture, say: Callable[[Event], None], message: str, **declared: Any
) -> None:
    class Talker(NetworkFunction):
        commands = declared.get("commands", True)

        @on("tcp.start", switch=declared.get("switch", False))
        @on("packet.malformed")
        def handle(self, event: Event) -> None:
            say(event)

    with pytest.raises(RunFailed, match=message):
        run_nf(Talker, capture(connection([b"x"])), stack=STACK)


def test_an_nf_that_declares_no_commands_gives_none(capture: MakeCapture) -> None:
    expect_refusal(
        capture, lambda event: event.flow.unsubscribe(), "write commands = True", commands=False
    )


def test_what_cannot_be_switched_is_named(capture: MakeCapture) -> None:
    expect_refusal(
        capture,
        lambda event: event.flow.unsubscribe("tcp.data"),
        r'no handler of Talker can be switched for it; write @on\("tcp.data", switch=True\)',
    )


def test_unknown_types_and_sides_are_refused(capture: MakeCapture) -> None:
    expect_refusal(capture, lambda event: event.flow.unsubscribe("tcp.dta"), "tcp.dta", switch=True)
    expect_refusal(
        capture,
        lambda event: event.flow.subscribe("tcp.start", side="left"),
        "side is 'originator' or 'responder'",
        switch=True,
    )
    expect_refusal(capture, lambda event: event.flow.subscribe(), "takes names of event types")
    expect_refusal(
        capture, lambda event: event.flow.unsubscribe(side="originator"), "takes names of event"
    )


def test_batches_and_commands_do_not_go_together() -> None:
    with pytest.raises(DefinitionError, match="takes no batches"):

        class Both(NetworkFunction):
            @on_batch("packet")
            def take(self, batch: Any) -> None:
                batch[0].flow.unsubscribe()


def test_a_switch_is_true_or_false() -> None:
    with pytest.raises(DefinitionError, match="initially is True or False"):
        on("tcp.data", initially="no")  # type: ignore[arg-type]


# --- who waits for whom ---


class JudgeBatches(NetworkFunction):
    """Judges in batches, in front of an NF that gives commands: it waits for the worker, which
    waits for that NF, which waits for it. Checkpoints end its batches."""

    inline: ClassVar = True
    commands: ClassVar = False

    @on_batch("tcp.start")
    def judge(self, batch: Any) -> None:
        assert len(batch) > 0


def test_batches_in_front_of_an_nf_with_commands_come_to_an_end(capture: MakeCapture) -> None:
    connections = [connection([b"abcde"] * 10, port=1000 + n) for n in range(60)]
    path = capture(list(chain.from_iterable(connections)))
    one = run_nf([JudgeBatches, FirstBytes], path, stack=STACK)
    assert one.summary == run_nf(FirstBytesIgnoringTheRest, path, stack=STACK).summary
    assert len(one.output) == 60 * 16


def test_a_delay_of_one_packet_is_lockstep(capture: MakeCapture) -> None:
    connections = (connection([b"abcde"] * 10, port=1000 + n) for n in range(5))
    path = capture(interleaved(*connections))
    result = run_nf([Publisher, JudgeBatches, FirstBytes], path, stack={"command_delay": 1})
    assert len(result.summary["seen"]) == 5 * 2
    assert result.counters["stream_bytes"] == 5 * 3 * 5  # the publisher leaves last


def test_a_large_capture_through_a_small_log(demo: Path) -> None:
    """The log is full, the gate is full, and an NF is waited for, by turns."""

    class Leaver(Seen):
        inline: ClassVar = True

        @on("packet", "tcp", "udp")
        def look(self, event: Event) -> None:
            if event.flow and event.packet % 3 == 0:
                event.flow.unsubscribe()

    result = run_nf([JudgeBatches, Leaver], demo, stack={"command_delay": 5000})
    counters = result.counters
    assert counters["commands_obeyed"] + counters["commands_late"] > 100
    assert counters["commands_refused"] == 0
    assert counters["output_packets"] + counters["gate_unseen"] == counters["packets"]
