"""Verdicts on flows: exact from their event on, and later packets cost neither the NF nor those
behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from microbox import DROP, DROP_FLOW, PASS_FLOW, RESET, Event, NetworkFunction, on, on_batch
from microbox.nf.manifest import manifest_of
from microbox.testing import run_nf
from microbox.testing.packets import ACK, PSH
from tests.nf.conftest import Frame, MakeCapture, connection, tcp

DELAY = 16
SEGMENTS = 100
STACK = {"command_delay": DELAY}


class Behind(NetworkFunction):
    """Reads what those in front leave."""

    def start(self) -> None:
        self.seen: list[int] = []

    @on("tcp.data")
    def look(self, event: Event) -> None:
        self.seen.append(event.packet)

    def finish(self) -> dict[str, Any]:
        return {"seen": self.seen}


class PassSecond(NetworkFunction):
    """Wants no more after the second segment."""

    verdict: ClassVar[Any] = PASS_FLOW

    @on("tcp.data")
    def look(self, event: Event) -> Any:
        return self.verdict if event.offset > 0 else None


class DropSecond(PassSecond):
    """Lets one segment out."""

    inline: ClassVar = True
    verdict: ClassVar = DROP_FLOW


class ResetSecond(DropSecond):
    """The same, and tells both ends."""

    verdict: ClassVar = RESET


class PassSecondUntold(PassSecond):
    """What PASS_FLOW costs where the stack is not told."""

    commands: ClassVar = False


class DropSecondUntold(DropSecond):
    """What DROP_FLOW costs where the stack is not told."""

    commands: ClassVar = False


def long_connection(capture: MakeCapture) -> Path:
    return capture(connection([b"x"] * SEGMENTS))


def test_who_names_a_verdict_on_flows_gives_commands() -> None:
    assert manifest_of(PassSecond).commands
    assert manifest_of(DropSecond).commands

    class Batches(NetworkFunction):
        inline: ClassVar = True

        @on_batch("packet")
        def look(self, batch: Any) -> Any:
            return [DROP_FLOW] * len(batch)

    assert not manifest_of(PassSecondUntold).commands
    assert not manifest_of(Batches).commands


def test_a_passed_flow_is_not_reassembled_any_more(capture: MakeCapture) -> None:
    path = long_connection(capture)
    told = run_nf(PassSecond, path, stack=STACK)
    untold = run_nf(PassSecondUntold, path, stack=STACK)
    assert untold.counters["stream_bytes"] == SEGMENTS
    assert told.counters["stream_bytes"] == 2 + DELAY - 1
    assert told.counters["commands_obeyed"] == told.counters["module_changes"] == 1
    assert told.counters["entries"] < untold.counters["entries"] / 4
    assert len(told.output) == len(untold.output) == SEGMENTS + 6


@pytest.mark.parametrize("dropper", [DropSecond, ResetSecond])
def test_a_dropped_flow_costs_those_behind_nothing(
    capture: MakeCapture, dropper: type[NetworkFunction]
) -> None:
    path = long_connection(capture)
    result = run_nf([dropper, Behind], path, stack=STACK)
    assert result.summary["seen"] == [4]
    assert result.counters["stream_bytes"] == 2 + DELAY - 1
    resets = 2 if dropper is ResetSecond else 0
    assert len(result.output) == 4 + resets
    assert result.counters["gate_dropped"] == SEGMENTS - 1 + 3


def test_those_in_front_go_on(capture: MakeCapture) -> None:
    result = run_nf([Behind, DropSecond, PassSecond], long_connection(capture), stack=STACK)
    assert result.counters["stream_bytes"] == SEGMENTS
    assert len(result.output) == 4


class Alerting(NetworkFunction):
    """Says something of each segment."""

    @on("tcp.data")
    def look(self, event: Event) -> None:
        self.alert(event, "segment")


class OfSomeFlows(Behind):
    """Reads what is published about some flows, and of others nothing."""

    @on("alert", filter="tcp port 80")
    def look(self, event: Event) -> None:
        self.seen.append(event.packet)


def test_what_is_published_in_front_of_a_drop_comes_by_filters_too(capture: MakeCapture) -> None:
    result = run_nf([Alerting, DropSecond, OfSomeFlows], long_connection(capture), stack=STACK)
    assert len(result.summary["seen"]) == SEGMENTS
    assert len(result.output) == 4


def test_told_or_not_the_output_is_the_same(demo: Path) -> None:
    one = run_nf([DropSecond, Behind], demo, stack=STACK)
    other = run_nf([DropSecondUntold, Behind], demo, stack=STACK)
    assert one.output == other.output
    assert one.summary == other.summary
    assert one.counters["commands_obeyed"] > 0
    assert one.counters["stream_bytes"] < other.counters["stream_bytes"]


class Publisher(NetworkFunction):
    """Stands in front, and says something of each segment, to people too."""

    declares: ClassVar = {"tcp.data.segment": {"length": "u32"}}
    publishes: ClassVar = ["tcp.data.segment", "alert"]

    @on("tcp.data")
    def look(self, event: Event) -> None:
        self.publish("tcp.data.segment", event, length=len(event.data))
        self.alert(event, "a segment")


class Reader(NetworkFunction):
    """Reads bytes, what the publisher says, and alerts."""

    declares: ClassVar = {"tcp.data.segment": {"length": "u32"}}

    def start(self) -> None:
        self.seen: dict[str, int] = {}

    @on("tcp.data", "alert")
    def look(self, event: Event) -> None:
        self.seen[event.name] = self.seen.get(event.name, 0) + 1

    def finish(self) -> dict[str, Any]:
        return self.seen


def test_alerts_of_those_in_front_are_never_dropped(capture: MakeCapture) -> None:
    result = run_nf([Publisher, DropSecond, Reader], long_connection(capture), stack=STACK)
    assert result.summary == {
        "flow.tcp.data": 1,
        "alert": SEGMENTS,
    }


class DropEvil(NetworkFunction):
    """Drops the packet whose bytes are evil."""

    @on("tcp.data")
    def look(self, event: Event) -> Any:
        return DROP if bytes(event.data) == b"evil" else None


def evil_connection() -> list[Frame]:
    frames = connection([b"good", b"evil", b"more"])
    again = tcp(ACK | PSH, 105, 501, b"evil")
    return [*frames[:6], again, again, frames[6]]


def test_a_dropped_stretch_does_not_come_back_by_retransmission(capture: MakeCapture) -> None:
    path = capture(evil_connection())
    result = run_nf([DropEvil, Behind], path)
    assert [packet.data for packet in result.output] == evil_connection()[:4]
    assert result.summary["seen"] == [4]


class DropEvilBatches(NetworkFunction):
    """The same in batches."""

    inline: ClassVar = True

    @on_batch("tcp.data")
    def look(self, batch: Any) -> Any:
        return [DROP if bytes(event.data) == b"evil" else 0 for event in batch]


def test_nor_where_batches_are_judged(capture: MakeCapture) -> None:
    result = run_nf(DropEvilBatches, capture(evil_connection()))
    assert [packet.data for packet in result.output] == evil_connection()[:4]
