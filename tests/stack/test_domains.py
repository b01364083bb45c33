"""What is around a packet tells flows with equal five-tuples apart, or does not: `flow_key`."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stack_driver import SYN, run
from stack_driver.packets import TCP, UDP, VLAN, VXLAN, Ethernet, IPv4

if TYPE_CHECKING:
    from tests.conftest import Workbench

TENANTS = 10_000
INNER = Ethernet() / IPv4("10.0.0.1", "10.0.0.2") / TCP(1000, 80, SYN, 100)
OUTER = Ethernet() / IPv4("192.0.2.1", "192.0.2.2") / UDP(5000, 4789)

FRAMES = {
    "untagged": bytes(INNER),
    "VLAN 7": bytes(Ethernet() / VLAN(7) / IPv4("10.0.0.1", "10.0.0.2") / TCP(1000, 80, SYN, 100)),
    "VLAN 8": bytes(Ethernet() / VLAN(8) / IPv4("10.0.0.1", "10.0.0.2") / TCP(1000, 80, SYN, 100)),
    "VXLAN 7": bytes(OUTER / VXLAN(7) / INNER),
    "VXLAN 8": bytes(OUTER / VXLAN(8) / INNER),
}


def write_capture(path: Path, frames: list[bytes]) -> Path:
    """A pcap file of Ethernet frames, a microsecond apart."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number, frame in enumerate(frames):
            file.write(struct.pack("<IIII", 1_700_000_000, number, len(frame), len(frame)) + frame)
    return path


@pytest.mark.parametrize(
    ("flow_key", "flows"),
    [(["vlan", "tunnel"], 5), (["tunnel"], 3), (["vlan"], 3), ([], 1)],
    ids=["both", "tunnel", "vlan", "neither"],
)
def test_a_chain_says_what_counts(workbench: Workbench, flow_key: list[str], flows: int) -> None:
    capture = write_capture(workbench.folder / "tenants.pcap", list(FRAMES.values()))
    chain = workbench.chain("flow_log", capture=capture, stack={"flow_key": flow_key})
    result = workbench.run("run", chain)
    assert result.returncode == 0, result.stderr
    assert len(workbench.log("flow_log")) == flows


def test_ten_thousand_tenants_share_no_chain_of_the_flow_table() -> None:
    frames = [bytes(OUTER / VXLAN(network) / INNER) for network in range(TENANTS)]
    stack = run(frames, flows_max=TENANTS)
    assert len(stack.events("tcp.start")) == TENANTS
    assert stack.counters.flows_tcp == TENANTS
    assert stack.counters.chain_longest < 10
