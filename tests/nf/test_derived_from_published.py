"""Conditions on what NFs publish: judged by the publisher, seen by whoever asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microbox import Batch, Event, NetworkFunction, event, on, on_batch
from microbox.testing import run_nf
from tests.nf.conftest import MakeCapture, connection, udp

SIZED = {"udp.datagram.sized": {"size": "u32", "note": "text", "score": "u16"}}


class Speaker(NetworkFunction):
    """Says the size of each datagram."""

    declares = SIZED
    publishes = ("udp.datagram.sized",)

    @on("udp.datagram")
    def speak(self, event: Event) -> None:
        size = len(event.data)
        self.publish("udp.datagram.sized", event, size=size, note="x" * size, score=size % 10)


class SpeakerOfBatches(NetworkFunction):
    """The same, for a batch at once."""

    declares = SIZED
    publishes = ("udp.datagram.sized",)

    @on_batch("udp.datagram")
    def speak(self, batch: Batch) -> None:
        sizes = batch.data_length
        notes = ["x" * int(size) for size in sizes]
        self.publish_batch("udp.datagram.sized", batch, size=sizes, note=notes, score=sizes % 10)


class Listener(NetworkFunction):
    """Hears what is large, what is odd besides, and all."""

    declares = SIZED
    large = event("udp.datagram.sized.large", when="size >= 20 and source == 10.0.0.1")
    odd = event("udp.datagram.sized.large.odd", when="score % 2 == 1")
    letter = event("udp.datagram.sized.letter", when='data startswith "xxx"')

    def start(self) -> None:
        self.heard: list[tuple[str, int, Any]] = []

    @on("udp.datagram.sized", large, odd, letter)
    def hear(self, event: Event) -> None:
        self.heard.append((event.name.rpartition(".")[2], event.size, event.cause))
        assert event.note == "x" * event.size


@pytest.mark.parametrize("speaker", [Speaker, SpeakerOfBatches])
def test_derived_events_follow_the_one_that_they_are_derived_from(
    capture: MakeCapture, speaker: type[NetworkFunction]
) -> None:
    path = capture([udp(b"x" * size) for size in (1, 19, 20, 21, 3)])
    heard = run_nf([speaker, Listener], path).nf.heard  # type: ignore[attr-defined]
    assert [one[:2] for one in heard] == [
        ("sized", 1),
        ("sized", 19),
        ("letter", 19),
        ("sized", 20),
        ("large", 20),
        ("letter", 20),
        ("sized", 21),
        ("large", 21),
        ("letter", 21),
        ("odd", 21),
        ("sized", 3),
        ("letter", 3),
    ]
    last = 0
    for sequence, (name, _, cause) in enumerate(heard):
        if name == "sized":
            assert cause.log == 0
            last = sequence
        else:
            assert (cause.log, cause.sequence) == (1, last)


def test_what_nobody_asks_for_is_not_published(capture: MakeCapture) -> None:
    class Hears(NetworkFunction):
        declares = SIZED

        def start(self) -> None:
            self.heard: list[str] = []

        @on("udp.datagram.sized")
        def hear(self, event: Event) -> None:
            self.heard.append(event.name)

    path = capture([udp(b"x" * 30)])
    assert run_nf([Speaker, Hears], path).nf.heard == ["flow.udp.datagram.sized"]  # type: ignore[attr-defined]


def test_a_parsers_events_too(sample: Path) -> None:
    class Oks(NetworkFunction):
        ok = event("http.response.ok", when="status in 200..299 and body_length > 0")
        bad = event("http.response.bad", when="status >= 400")

        def start(self) -> None:
            self.heard: list[tuple[str, int]] = []

        @on(ok, bad)
        def hear(self, event: Event) -> None:
            self.heard.append((event.name.rpartition(".")[2], event.status))

    assert run_nf(Oks, sample).nf.heard == [("ok", 200)]  # type: ignore[attr-defined]


def test_batches_of_derived_events(capture: MakeCapture) -> None:
    class Columns(NetworkFunction):
        declares = SIZED
        large = event("udp.datagram.sized.large", when="size > 2")

        def start(self) -> None:
            self.packets: list[int] = []

        @on_batch(large)
        def see(self, batch: Batch) -> None:
            self.packets += batch.packet.tolist()

    path = capture([udp(b"x" * size) for size in (1, 5, 2, 3)])
    assert run_nf([Speaker, Columns], path).nf.packets == [2, 4]  # type: ignore[attr-defined]


def test_a_whole_connection_of_requests(capture: MakeCapture) -> None:
    class Posts(NetworkFunction):
        second = event("http.request.second", when="number == 2")

        def start(self) -> None:
            self.targets: list[str] = []

        @on(second)
        def see(self, event: Event) -> None:
            self.targets.append(event.target)

    requests = [b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(4)]
    assert run_nf(Posts, capture(connection(requests))).nf.targets == ["/1"]  # type: ignore[attr-defined]
