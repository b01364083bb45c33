"""packet_sizes: every packet once, in its class."""

from __future__ import annotations

from pathlib import Path

import pytest

from microbox.testing import RunFailed, run_nf
from tests.conftest import Tshark


def test_every_packet_is_in_its_class(demo: Path, tshark: Tshark) -> None:
    lengths = [int(length) for (length,) in tshark(demo, "frame", "frame.len")]
    summary = run_nf("packet_sizes", demo, bounds=[100, 1000]).summary
    assert summary["packets"] == len(lengths)
    assert summary["bytes"] == sum(lengths)
    assert summary["sizes"] == {
        "to 100": sum(1 for length in lengths if length <= 100),
        "to 1000": sum(1 for length in lengths if 100 < length <= 1000),
        "larger": sum(1 for length in lengths if length > 1000),
    }


def test_bounds_must_ascend(sample: Path) -> None:
    with pytest.raises(RunFailed, match="expected ascending numbers"):
        run_nf("packet_sizes", sample, bounds=[2, 1])
