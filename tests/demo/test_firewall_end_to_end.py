"""configs/firewall.yaml: the output has exactly the packets that should pass, as they were."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import Tshark, Workbench

ROOT = Path(__file__).parents[2]

# What its rules say, in tshark's words. Only the scanner begins flows to it and from it.
# ICMP errors share the fate of the flow that they quote.
DROPPED = (
    "(tcp || udp) && ("
    "(ip.addr == 192.0.2.66 && !(tcp.port == 80)) || ip.addr == 203.0.113.0/24 || tcp.port == 23)"
)


def records(capture: Path) -> Iterator[tuple[int, int, bytes]]:
    """Seconds, nanoseconds and frame of each packet of a little-endian nanosecond pcap file."""
    data = capture.read_bytes()
    assert data[:4] == bytes.fromhex("4d3cb2a1")
    position = 24
    while position < len(data):
        seconds, nanoseconds, length, _ = struct.unpack_from("<IIII", data, position)
        position += 16
        yield seconds, nanoseconds, data[position : position + length]
        position += length


def test_just_the_denied_flows_are_missing(
    workbench: Workbench, demo: Path, tshark: Tshark
) -> None:
    written = (ROOT / "configs" / "firewall.yaml").read_text()
    chain = workbench.folder / "firewall.yaml"
    chain.write_text(written.replace("../captures", str(ROOT / "captures")))

    result = workbench.run("run", chain, "--json")

    assert result.returncode == 0, result.stderr
    dropped = {int(number) for (number,) in tshark(demo, DROPPED, "frame.number")}
    expected = [one for number, one in enumerate(records(demo), 1) if number not in dropped]
    assert len(dropped) > 1000
    assert list(records(workbench.folder / "passed.pcap")) == expected
    # flow_log stands behind the firewall.
    hosts = {line["src_ip"] for line in workbench.log("flow_log")}
    assert not any(host.startswith("203.0.113.") for host in hosts)
