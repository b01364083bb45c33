"""What examples/c/count.c does, in Python."""

from microbox import Event, NetworkFunction, on


class Count(NetworkFunction):
    """Count packets, flows and bytes of streams."""

    least_bytes: int = 0

    class flow_state:  # noqa: N801 (what the runtime calls it)
        """Bytes of each side."""

        def __init__(self) -> None:
            self.bytes = [0, 0]

    def start(self) -> None:
        """Begin to count."""
        self.packets = self.flows = self.bytes = 0

    @on("packet")
    def see_packet(self, _event: Event) -> None:
        """One more."""
        self.packets += 1

    @on("tcp.data")
    def see_data(self, event: Event) -> None:
        """Bytes of a side."""
        self.bytes += len(event.data)
        event.flow.state.bytes[event.direction] += len(event.data)

    @on("tcp.end")
    def see_end(self, event: Event) -> None:
        """A line for a flow that is large enough."""
        self.flows += 1
        sent, received = event.flow.state.bytes
        if sent + received >= self.least_bytes:
            self.record(event, sent=sent, received=received)

    def finish(self) -> dict[str, int]:
        """What was counted."""
        return {"packets": self.packets, "flows": self.flows, "bytes": self.bytes}
