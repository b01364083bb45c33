"""What the counters of an NF say: what its own handlers asked for, and how their calls ended."""

from __future__ import annotations

from typing import Any

import pytest

from microbox import Batch, Event, NetworkFunction, on, on_batch
from microbox.testing import run_nf
from tests.nf.conftest import MakeCapture, connection, udp


class Counted(NetworkFunction):
    """Tells its counters after the end; they are those of the bus."""

    def start(self) -> None:
        self.kept: list[Any] = []


def counters_of(
    monkeypatch: pytest.MonkeyPatch, owner: type[NetworkFunction], capture: Any
) -> tuple[int, int, int]:
    """`matched`, `handled` and `raised` after a run with on_error: skip."""
    from microbox.nf.runner import Runner

    found: list[tuple[int, int, int]] = []

    def finish(self: Runner) -> None:
        was_finished = self.is_finished
        original(self)
        if not was_finished and self._owner is owner:
            counters = self._reader.counters
            found.append((counters.matched, counters.handled, counters.raised))

    original = Runner.finish
    monkeypatch.setattr(Runner, "finish", finish)
    run_nf(owner, capture, on_error="skip")
    return found[0]


def test_what_only_the_runtime_reads_is_neither_seen_nor_handled(
    monkeypatch: pytest.MonkeyPatch, capture: MakeCapture
) -> None:
    class WithState(Counted):
        flow_state = dict

        @on("tcp.data")
        def see(self, event: Event) -> None:
            event.flow.state["seen"] = True

    frames = connection([b"one", b"two", b"three"])
    assert counters_of(monkeypatch, WithState, capture(frames)) == (3, 3, 0)


def test_the_end_of_a_flow_counts_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capture: MakeCapture
) -> None:
    class ReadsEnds(Counted):
        flow_state = dict

        @on("tcp.end", "system.end_of_input")
        def see(self, event: Event) -> None:
            pass

    assert counters_of(monkeypatch, ReadsEnds, capture(connection([b"x"]))) == (2, 2, 0)


def test_a_call_that_returns_nonsense_or_keeps_bytes_has_raised_and_not_returned(
    monkeypatch: pytest.MonkeyPatch, capture: MakeCapture
) -> None:
    class Odd(Counted):
        @on("udp.datagram")
        def see(self, event: Event) -> str | None:
            if event.packet == 1:
                return "drop it"
            if event.packet == 2:
                self.kept.append(event.data)
            return None

        @on("udp.datagram")
        def see_too(self, event: Event) -> None:
            pass

    frames = [udp(b"one"), udp(b"two"), udp(b"three")]
    assert counters_of(monkeypatch, Odd, capture(frames)) == (3, 4, 2)


def test_a_batch_with_a_wrong_verdict_is_not_handled(
    monkeypatch: pytest.MonkeyPatch, capture: MakeCapture
) -> None:
    class OddBatch(Counted):
        @on_batch("udp.datagram")
        def see(self, batch: Batch) -> list[int]:
            return [0] * (len(batch) + 1)

    assert counters_of(monkeypatch, OddBatch, capture([udp(b"one")] * 3)) == (3, 0, 1)
