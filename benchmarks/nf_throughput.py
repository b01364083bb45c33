"""Events to an NF in Python, published by another process in C: one at a time, and in batches.

The runner, the reader and the log are those of a run; the worker is left out, since its work on
packets is not what is measured.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from microbox import Batch, Event, NetworkFunction, on, on_batch
from microbox.channel.messages import AreaShape, Bit, Configure
from microbox.events.catalog import built_in
from microbox.nf.reader import Reader
from microbox.nf.runner import Runner

SLOTS = 16_384
CUT = 4096
ROUNDS = 3
POLL_NS = 100_000_000
PUBLISHER = Path(os.environ.get("BENCHMARKS_BUILD", "build/benchmarks")) / "publish_events"


class Counting(NetworkFunction):
    """Reads all three cache lines of each event's slot."""

    def start(self) -> None:
        """Begins."""
        self.events = 0
        self.sum = 0

    @on("tcp.data")
    def see(self, event: Event) -> None:
        """A field of each line."""
        self.events += 1
        self.sum += event.time + event.offset + event.snapshot.side[0].bytes


class Summing(NetworkFunction):
    """Reads all three cache lines of each event's slot."""

    def start(self) -> None:
        """Begins."""
        self.events = 0
        self.sum = 0

    @on_batch("tcp.data")
    def see(self, batch: Batch) -> None:
        """A column of each line."""
        self.events += len(batch)
        self.sum += int(batch.time.sum()) + int(batch.offset.sum())
        self.sum += int(batch.snapshot["side"]["bytes"][:, 0].sum())


def configure(owner: type[NetworkFunction]) -> Configure:
    """One bit, no publications, no verdicts."""
    catalog = built_in()
    types = [catalog.resolve(name).number for name in ("tcp.data", "system.end_of_input")]
    shape = AreaShape(SLOTS, own_slots=0, ring_bytes=0, is_inline=False)
    cut = CUT if owner is Summing else 0
    return Configure(0, [Bit(0, "", types, types)], shape, cut, [], [owner.__name__])


def start_publisher(
    area: int, events: int, pause: int
) -> tuple[subprocess.Popen[str], socket.socket, int]:
    """The process, its socket, and the descriptor of its log."""
    ours, theirs = socket.socketpair()
    arguments = [str(number) for number in (theirs.fileno(), events, SLOTS, 0, 0, 0, pause)]
    publisher = subprocess.Popen(
        [PUBLISHER, *arguments], pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True
    )
    theirs.close()
    socket.send_fds(ours, [b"x"], [area])
    _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    return publisher, ours, descriptors[0]


def run(function: Any, events: int, *, pause: int = 0, poll: int = POLL_NS) -> float:
    """The seconds from the first event published to the last one read. `pause`: nanoseconds between
    two of them. `poll`: how long the NF waits for one, likewise; with 0 it spins."""
    owner = type(function)
    setting = configure(owner)
    with closing(Reader(setting)) as reader:
        publisher, connected, log = start_publisher(reader.area_fd, events, pause)
        with connected:
            reader.map_log(log)
            os.close(log)
            runner = Runner(function, reader, built_in(), setting, tell=print)
            runner.start()
            connected.send(b"x")
            while not runner.is_finished:
                runner.run_once(poll)
            reader.advance()
            return float(publisher.communicate()[0])


def rate(owner: type[NetworkFunction], events: int) -> float:
    """Million events/s."""
    function: Any = owner()
    seconds = run(function, events)
    if function.events != events:
        raise RuntimeError(f"{function.events} of {events} events came")
    return events / seconds / 1e6


def measure(name: str, what: str, owner: type[NetworkFunction], events: int, goal: float) -> None:
    """Prints the median of some rounds."""
    value = statistics.median(rate(owner, events) for _ in range(ROUNDS))
    sample = {"measure": name, "what": what, "value": value, "unit": "M events/s", "goal": goal}
    print(json.dumps(sample), flush=True)


def main() -> None:
    """Measures both."""
    measure("nf.on", "to an @on handler, every line of a slot read", Counting, 1_000_000, 2.0)
    measure("nf.on_batch", "to numpy columns, every line of a slot read", Summing, 4_000_000, 15.0)


if __name__ == "__main__":
    main()
