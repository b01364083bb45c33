"""Says while packets flow that something is being lost: once for each kind of loss, as soon as it
begins. How much it was in the end is in the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from microbox.runtime.lane import Lane
from microbox.runtime.running import Running

AT_CAP = {
    "evict": "the oldest are given up",
    "drop-packet": "packets are dropped",
    "drop-flow": "packets, and those that belong with them, are dropped",
    "bypass": "packets go out unseen",
    "pass": "packets go on, but are not kept",
}


class Losses:
    """Of one run."""

    def __init__(self, running: Running, note: Callable[[str], None]) -> None:
        """`note` is called with sentences for people."""
        self._running = running
        self._note = note
        self._said: set[str] = set()

    def look(self) -> None:
        """To be called some times a second, and at the end."""
        for lane in self._running.all_lanes:
            for sentence in _losses(lane):
                if sentence not in self._said:
                    self._said.add(sentence)
                    self._note(f"warning: {sentence}; the summary will say how many")


def _losses(lane: Lane) -> Iterator[str]:
    """What is lost in this lane up to now, by kind."""
    for cap, by_policy in lane.pages.caps_met().items():
        for policy in by_policy:
            yield f"the cap on {cap} is met: {AT_CAP[policy]} ({cap}_at_cap: {policy})"
    if lane.pages.value("window_relieved"):
        yield "the window is full of what waits for others, which is given up (input_window)"
    if lane.pages.value("output_lost"):
        yield "packets cannot be written to the output"
    for nf in lane.nfs:
        if nf.planned.skips and not nf.is_guest and nf.pages.value("lost"):
            yield f"{nf.planned.entry} is too slow and loses events (on_lag: skip)"
