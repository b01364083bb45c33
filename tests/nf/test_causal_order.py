"""Any later stage sees what NFs publish behind its causes: random chains of publishers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microbox import Batch, Event, NetworkFunction, on, on_batch
from microbox.testing import run_nf
from tests.nf.conftest import MakeCapture, udp

BASE = "udp.datagram"


@dataclass(frozen=True)
class Stage:
    """A publisher: what it reads, how often it publishes for each, how, and how much text."""

    reads: tuple[int, ...]  # earlier stages; the datagrams themselves always
    copies: int
    takes_batches: bool
    text: int  # characters: past some dozen the payload lies in the data ring


@st.composite
def chains(draw: st.DrawFn) -> list[Stage]:
    count = draw(st.integers(1, 4))
    return [
        Stage(
            tuple(draw(st.sets(st.integers(0, number - 1)))) if number else (),
            draw(st.integers(0, 3)),
            draw(st.booleans()),
            draw(st.sampled_from([0, 8, 400])),
        )
        for number in range(count)
    ]


def name_of(number: int) -> str:
    return f"{BASE}.stage{number}"


def declared(numbers: Iterable[int]) -> dict[str, dict[str, str]]:
    return {name_of(number): {"serial": "u32", "trail": "text"} for number in numbers}


def publisher(number: int, stage: Stage) -> type[NetworkFunction]:
    types = [BASE, *(name_of(one) for one in stage.reads)]
    own = name_of(number)

    def one_by_one(self: Any, event: Event) -> None:
        for _ in range(stage.copies):
            self.publish(own, event, serial=self.serial, trail="x" * stage.text)
            self.serial += 1

    def at_once(self: Any, batch: Batch) -> None:
        rows = [row for row in range(len(batch)) for _ in range(stage.copies)]
        serials = range(self.serial, self.serial + len(rows))
        self.publish_batch(own, batch, rows, serial=serials, trail="x" * stage.text)
        self.serial += len(rows)

    def start(self: Any) -> None:
        self.serial = 0

    handler = on_batch(*types)(at_once) if stage.takes_batches else on(*types)(one_by_one)
    body = {
        "start": start,
        "see": handler,
        "declares": declared([*stage.reads, number]),
        "publishes": (own,),
    }
    return type(f"Stage{number}", (NetworkFunction,), body)


def watcher(count: int) -> type[NetworkFunction]:
    def start(self: Any) -> None:
        self.seen = []

    def see(self: Any, event: Event) -> None:
        log = 0 if event.cause is None else 1 + int(event.name[-1])
        serial = event.serial if event.cause else 0
        text = event.trail if event.cause else ""
        self.seen.append((log, event.sequence, event.cause, event.packet, serial, text))

    types = [BASE, *(name_of(number) for number in range(count))]
    body = {"start": start, "see": on(*types)(see), "declares": declared(range(count))}
    return type("Watcher", (NetworkFunction,), body)


@given(chains(), st.integers(1, 30))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_later_stage_sees_causes_before_effects(
    capture: MakeCapture, stages: list[Stage], packets: int
) -> None:
    chain = [publisher(number, stage) for number, stage in enumerate(stages)]
    path = capture([udp(b"%d" % number) for number in range(packets)])
    result = run_nf([*chain, watcher(len(stages))], path)
    seen = result.nf.seen  # type: ignore[attr-defined]

    places = {(log, sequence): place for place, (log, sequence, *_) in enumerate(seen)}
    assert len(places) == len(seen)  # nothing comes twice
    packet_of = {(log, sequence): packet for log, sequence, _, packet, *_ in seen}
    for place, (_, _, cause, packet, _, _) in enumerate(seen):
        if cause is not None:
            assert places[cause.log, cause.sequence] < place
            assert packet_of[cause.log, cause.sequence] == packet

    counts = [packets]
    for number, stage in enumerate(stages):
        own = [one for one in seen if one[0] == 1 + number]
        read = packets + sum(counts[1 + one] for one in stage.reads)
        counts.append(read * stage.copies)
        assert [one[4] for one in own] == list(range(counts[-1]))  # all, in their own order
        assert {one[5] for one in own} <= {"x" * stage.text}
    assert sum(counts) == len(seen)
