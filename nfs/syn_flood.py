"""Many connections to one port that are begun and never completed."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any, ClassVar, NamedTuple

from microbox import Event, NetworkFunction, on, parameter


class Target(NamedTuple):
    """What is flooded."""

    address: str
    port: int


class SynFlood(NetworkFunction):
    """Alert when a port has many half-open connections.

    Reports a port once, and again when its half-open connections fell below half of the threshold
    in between.
    """

    per_flow: ClassVar = False

    threshold: int = parameter(100, "half-open connections of one address and port")
    half_open_max: int = parameter(100_000, "half-open connections that are watched; the oldest go")

    def start(self) -> None:
        """Begin with none."""
        self.half_open: OrderedDict[int, Target] = OrderedDict()  # by flow
        self.counts: Counter[Target] = Counter()
        self.reported: set[Target] = set()
        self.most: Counter[Target] = Counter()
        self.forgotten = 0

    @on("tcp.start")
    def begin(self, event: Event) -> None:
        """Count a connection that begins."""
        flow = event.flow
        target = Target(flow.destination, flow.destination_port)
        self.half_open[flow.id] = target
        self.counts[target] += 1
        if len(self.half_open) > self.half_open_max:
            self.close(next(iter(self.half_open)))
            self.forgotten += 1
        count = self.counts[target]
        if count < self.threshold:
            return
        self.most[target] = max(self.most[target], count)
        if target not in self.reported:
            self.reported.add(target)
            message = f"{count} half-open connections to {target.address} port {target.port}"
            self.alert(event, message, signature="syn_flood", severity=3)

    @on("tcp.established", "tcp.end")
    def settle(self, event: Event) -> None:
        """A connection is complete, or gone."""
        self.close(event.flow.id)

    def close(self, flow: int) -> None:
        """Count one half-open connection less."""
        target = self.half_open.pop(flow, None)
        if target is None:
            return
        self.counts[target] -= 1
        if self.counts[target] < self.threshold / 2:
            self.reported.discard(target)
        if not self.counts[target]:
            del self.counts[target]

    def finish(self) -> dict[str, Any]:
        """Say which ports were flooded, and the most half-open connections of each."""
        ordered = sorted(self.most.items(), key=lambda one: (-one[1], one[0]))
        flooded = {f"{target.address} port {target.port}": count for target, count in ordered[:100]}
        return {"flooded": flooded, "forgotten": self.forgotten}
