"""From publishing an event in C to its handler in Python, in another process: one at a time.

The NF has nothing else to do. One that spins costs a core; one that sleeps is woken by the kernel.
"""

from __future__ import annotations

import json
import statistics
import time

from nf_throughput import POLL_NS, run

from microbox import Event, NetworkFunction, on

EVENTS = 4000
PAUSE_NS = 100_000


class Timing(NetworkFunction):
    """How long each event took to come."""

    def start(self) -> None:
        """Begins."""
        self.nanoseconds: list[int] = []

    @on("tcp.data")
    def see(self, event: Event) -> None:
        """Its time is when it was published, by the monotonic clock."""
        self.nanoseconds.append(time.monotonic_ns() - event.time)


def measure(name: str, what: str, poll: int) -> None:
    """Prints the median, and what 99 of 100 stay under."""
    function = Timing()
    run(function, EVENTS, pause=PAUSE_NS, poll=poll)
    parts = statistics.quantiles(function.nanoseconds, n=100)
    words = {50: f"publish to handler, Python, {what}: median", 99: "the same, 99 of 100"}
    for percent, what_is in words.items():
        sample = {
            "measure": f"nf.latency.{name}.p{percent}",
            "what": what_is,
            "value": parts[percent - 1] / 1000,
            "unit": "us",
        }
        print(json.dumps(sample), flush=True)


def main() -> None:
    """Measures both."""
    measure("spinning", "spinning", 0)
    measure("sleeping", "sleeping", POLL_NS)


if __name__ == "__main__":
    main()
