"""Batches behind NFs that publish, behind NFs that publish: nobody waits for himself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from microbox import Batch, Event, NetworkFunction, on, on_batch
from microbox.testing import run_nf
from tests.nf.conftest import MakeCapture, udp

TYPES: dict[str, dict[str, str]] = {
    "udp.datagram.first": {"filling": "text"},
    "udp.datagram.second": {},
}


class First(NetworkFunction):
    """Fills its log fast."""

    declares = TYPES
    publishes: ClassVar = ["udp.datagram.first"]

    @on("udp.datagram")
    def speak(self, event: Event) -> None:
        for _ in range(4):
            self.publish("udp.datagram.first", event, filling=b"x" * 400)


class Second(NetworkFunction):
    """Waits for the first one, and publishes too."""

    declares = TYPES
    publishes: ClassVar = ["udp.datagram.second"]

    @on("udp.datagram.first")
    def repeat(self, event: Event) -> None:
        self.publish("udp.datagram.second", event)


class Third(NetworkFunction):
    """Takes batches of what the second one says."""

    declares = TYPES

    def start(self) -> None:
        self.sizes: list[int] = []

    @on_batch("udp.datagram.second")
    def count(self, batch: Batch) -> None:
        self.sizes.append(len(batch))

    def finish(self) -> Mapping[str, Any]:
        return {"sizes": self.sizes}


def test_all_events_come_and_batches_are_the_same_every_time(capture: MakeCapture) -> None:
    path = capture([udp(b"")] * 9000)
    first, second = (run_nf([First, Second, Third], path).summary["sizes"] for _ in range(2))
    assert sum(first) == 4 * 9000
    assert first == second
