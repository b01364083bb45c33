"""configs/conditions.yaml: the stack finds just what the same conditions find in Python."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from microbox import Event, NetworkFunction, on
from microbox.testing import run_nf
from tests.conftest import Workbench

ROOT = Path(__file__).parents[2]
INSIDE = (ip_network("10.0.0.0/8"), ip_network("192.0.2.0/24"))


class SameInPython(NetworkFunction):
    """Each handler says a condition of the chain once more, and gets all events to say it of."""

    def start(self) -> None:
        """Begin to collect."""
        self.found: list[tuple[str, int]] = []
        self.requests: defaultdict[int, int] = defaultdict(int)
        self.started: dict[int, int] = {}

    @on("tcp.data")
    def busy_client(self, event: Event) -> None:
        """A client's tenth request."""
        if event.direction or bytes(event.data[:4]) != b"GET ":
            return
        self.requests[event.flow.id] += 1
        if self.requests[event.flow.id] == 10:
            self.found.append(("busy_client", event.packet))

    @on("tcp.start")
    def outsider(self, event: Event) -> None:
        """A connection from elsewhere."""
        self.started[event.flow.id] = event.time
        inside = any(ip_address(event.source) in one for one in INSIDE)
        if event.destination_port in (22, 23, 80, 443) and not inside:
            self.found.append(("outsider", event.packet))

    @on("retransmission")
    def early(self, event: Event) -> None:
        """A second loss."""
        side = event.snapshot.side[event.direction]
        if side.bytes < 64 * 1024 and side.retransmissions > 1:
            self.found.append(("early", event.packet))

    @on("tcp.established")
    def slow(self, event: Event) -> None:
        """A slow handshake."""
        if event.time - self.started[event.flow.id] > 20_000_000:
            self.found.append(("slow", event.packet))


def test_the_stack_finds_what_python_finds(workbench: Workbench, demo: Path) -> None:
    written = (ROOT / "configs" / "conditions.yaml").read_text()
    chain = workbench.folder / "conditions.yaml"
    chain.write_text(
        written.replace("../captures", str(ROOT / "captures")).replace(
            "./notable.py", str(ROOT / "configs" / "notable.py")
        )
    )

    result = workbench.run("run", chain, "--json")

    assert result.returncode == 0, result.stderr
    lines: list[dict[str, Any]] = workbench.log("notable")
    same = run_nf(SameInPython, demo).nf
    assert isinstance(same, SameInPython)
    assert [(line["event_type"], line["packet"]) for line in lines] == same.found
    assert {name for name, _ in same.found} == {"busy_client", "outsider", "early", "slow"}
