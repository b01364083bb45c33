"""Writes a line for each answer that the module `response_time` saw, and sums up."""

from typing import ClassVar

from microbox import Event, NetworkFunction, on


class ResponseLog(NetworkFunction):
    """Log how long TCP servers take to answer."""

    declares: ClassVar = {
        "tcp.response": {"microseconds": "u32", "request_bytes": "u32", "number": "u32"},
    }

    def start(self) -> None:
        """Begin to count."""
        self.answers = 0
        self.slowest = 0

    @on("tcp.response")
    def log(self, event: Event) -> None:
        """A line for each answer."""
        self.answers += 1
        self.slowest = max(self.slowest, event.microseconds)
        self.record(
            event,
            microseconds=event.microseconds,
            request_bytes=event.request_bytes,
            number=event.number,
        )

    def finish(self) -> dict[str, int]:
        """What the summary shows."""
        return {"answers": self.answers, "slowest_microseconds": self.slowest}
