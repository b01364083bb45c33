"""syn_flood: connections that are begun and not completed."""

from __future__ import annotations

from pathlib import Path

import pytest

from microbox.testing import run_nf
from tests.conftest import Tshark


def test_the_flood_is_reported_once(demo: Path) -> None:
    (alert,) = run_nf("syn_flood", demo, threshold=100).alerts
    assert (alert.destination, alert.destination_port) == ("198.51.100.20", 80)
    assert alert.signature == "syn_flood"


def test_it_knows_how_many_stayed_half_open(demo: Path, tshark: Tshark) -> None:
    summary = run_nf("syn_flood", demo).summary
    wanted = "tcp.flags.syn == 1 && tcp.flags.ack == 0 && ip.src == 203.0.113.0/24"
    flows = set(tshark(demo, wanted, "ip.src", "tcp.srcport"))
    assert summary["flooded"] == {"198.51.100.20 port 80": len(flows)}


@pytest.mark.parametrize("threshold", [1000, 100_000])
def test_below_the_threshold_nothing_is_said(demo: Path, threshold: int) -> None:
    assert run_nf("syn_flood", demo, threshold=threshold).alerts == []


def test_no_more_are_watched_than_allowed(demo: Path) -> None:
    result = run_nf("syn_flood", demo, half_open_max=50)
    assert result.alerts == []
    assert result.summary["forgotten"] > 500


def test_nothing_is_left_when_all_have_ended(demo: Path) -> None:
    nf = run_nf("syn_flood", demo).nf
    assert not nf.half_open  # type: ignore[attr-defined]
    assert not nf.counts  # type: ignore[attr-defined]
