"""One source that tries many ports, or one port of many hosts."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar

from microbox import Event, NetworkFunction, on, parameter

NANOSECONDS = 1_000_000_000
Key = tuple[str, str | int]  # source, and the host or the port that it keeps to


class Tries:
    """What one source tried of late, by what it tried: a port or a host."""

    __slots__ = ("is_reported", "times")

    def __init__(self) -> None:
        self.times: OrderedDict[str | int, int] = OrderedDict()
        self.is_reported = False

    def add(self, tried: str | int, now: int, since: int) -> int:
        """Add one; forget those from before `since`; return how many different ones remain."""
        self.times[tried] = now
        self.times.move_to_end(tried)
        while self.times and next(iter(self.times.values())) < since:
            self.times.popitem(last=False)
        return len(self.times)


class PortScan(NetworkFunction):
    """Alert when one source begins flows to many ports of a host, or to one port of many hosts.

    Reports each pair once, and again when it was quiet for a window in between.
    """

    per_flow: ClassVar = False

    threshold: int = parameter(20, "different ports or hosts within the window")
    window: float = parameter(10.0, "seconds of packet time")
    pairs_max: int = parameter(100_000, "pairs of source and host or port that are watched")

    def start(self) -> None:
        """Begin with nobody."""
        self.tries: OrderedDict[Key, Tries] = OrderedDict()
        self.scans: list[str] = []
        self.forgotten = 0

    @on("tcp.start", "udp.start")
    def begin(self, event: Event) -> None:
        """Count a new flow for both kinds of scan."""
        flow = event.flow
        source, host, port = flow.source, flow.destination, flow.destination_port
        if self.add((source, host), port, event.time):
            self.report(event, f"{source} tries many ports of {host}", "port_scan")
        if self.add((source, port), host, event.time):
            self.report(event, f"{source} tries port {port} of many hosts", "host_scan")

    def add(self, key: Key, tried: str | int, now: int) -> bool:
        """Count one try; True when that makes it a scan."""
        tries = self.tries.setdefault(key, Tries())
        self.tries.move_to_end(key)
        if len(self.tries) > self.pairs_max:
            self.tries.popitem(last=False)
            self.forgotten += 1
        count = tries.add(tried, now, now - round(self.window * NANOSECONDS))
        if count == 1:
            tries.is_reported = False
        if count < self.threshold or tries.is_reported:
            return False
        tries.is_reported = True
        return True

    def report(self, event: Event, what: str, signature: str) -> None:
        """Alert."""
        self.scans.append(what)
        del self.scans[100:]
        message = f"{what}: {self.threshold} within {self.window:g} s"
        self.alert(event, message, signature=signature, severity=3)

    def finish(self) -> dict[str, Any]:
        """Say who scanned what."""
        return {"scans": self.scans, "watched": len(self.tries), "forgotten": self.forgotten}
