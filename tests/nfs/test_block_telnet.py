"""block_telnet: connections to port 23 are dropped."""

from __future__ import annotations

from pathlib import Path

from microbox.testing import run_nf
from tests.conftest import Tshark


def test_connections_to_port_23_are_dropped_and_reported(demo: Path, tshark: Tshark) -> None:
    result = run_nf("block_telnet", demo)
    assert len(result.output) == len(tshark(demo, "!(tcp.port == 23)", "frame.number"))
    flows = set(tshark(demo, "tcp.port == 23", "tcp.stream"))
    assert [one.signature for one in result.alerts] == ["telnet"] * len(flows)
