"""What the conditions of `conditions.yaml` find, and one condition of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from microbox import Event, NetworkFunction, event, on


class Notable(NetworkFunction):
    """Write a line for each event that the chain's conditions let through."""

    # Declared in the chain file, under `events:`.
    declares: ClassVar[dict[str, dict[str, str]]] = {
        "tcp.data.busy_client": {},
        "tcp.start.outsider": {},
        "retransmission.early": {},
    }

    slow = event("tcp.established.slow", when="flow.age > 20ms", doc="A slow handshake.")

    def start(self) -> None:
        """Begin to count."""
        self.counts: Counter[str] = Counter()

    @on("tcp.data.busy_client", "tcp.start.outsider", "retransmission.early", slow)
    def see(self, event: Event) -> None:
        """Write one."""
        name = event.name.rpartition(".")[2]
        self.counts[name] += 1
        self.record(event, event_type=name, packet=event.packet)

    def finish(self) -> dict[str, Any]:
        """Say how many there were of each."""
        return dict(sorted(self.counts.items()))
