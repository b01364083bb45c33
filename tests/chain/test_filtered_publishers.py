"""Who reads what a filtered NF publishes gets it: plan, worker, bus and runner together."""

from __future__ import annotations

from pathlib import Path

import pytest

from microbox import Event, NetworkFunction, on
from microbox.testing import run_nf, sample_capture


class Web(NetworkFunction):
    """Alerts for connections to port 80."""

    @on("tcp.start", filter="tcp dst port 80")
    def begin(self, event: Event) -> None:
        self.alert(event, "web")


class Names(NetworkFunction):
    """Alerts for datagrams to port 53."""

    @on("udp.datagram", filter="udp dst port 53")
    def ask(self, event: Event) -> None:
        self.alert(event, "name")


class Relay(NetworkFunction):
    """Alerts for alerts of one kind of packets, and for none of the others."""

    @on("alert", filter="tcp")
    def relay(self, event: Event) -> None:
        self.alert(event, f"relayed {event.message}")


class Other(NetworkFunction):
    """Reads alerts of packets that are not there."""

    def start(self) -> None:
        self.seen: list[str] = []

    @on("alert", filter="tcp dst port 81")
    def read(self, event: Event) -> None:
        self.seen.append(event.message)

    def finish(self) -> dict[str, list[str]]:
        return {"seen": self.seen}


@pytest.fixture
def capture() -> Path:
    return sample_capture()


def test_a_reader_without_a_filter(capture: Path) -> None:
    result = run_nf([Web, Names], capture)
    assert [alert.message for alert in result.alerts] == ["name", "web"]


def test_a_reader_with_another_filter(capture: Path) -> None:
    result = run_nf([Web, Names, Relay], capture)
    assert [alert.message for alert in result.alerts] == ["name", "web", "relayed web"]


def test_a_reader_whose_filter_matches_nothing(capture: Path) -> None:
    assert run_nf([Web, Other], capture).summary == {"seen": []}
