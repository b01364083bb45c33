"""What chatty.c does, in Python."""

from typing import ClassVar

from microbox import PASS_FLOW, Event, NetworkFunction, Verdict, every, on


class Chatty(NetworkFunction):
    """Does all that it may."""

    most: int
    share: float = 0.1
    word: str = "so"
    loud: bool = False

    publishes: ClassVar = ["tcp.data.said"]
    declares: ClassVar = {
        "tcp.data.said": {"number": "u32", "begin": "text", "share": "f64", "minus": "i64"}
    }

    class flow_state:  # noqa: N801 (what the runtime calls it)
        events = 0

    def start(self) -> None:
        self.ticks = 0
        self.left = 0

    @on("tcp.data")
    def see_data(self, event: Event) -> None:
        state = event.flow.state
        state.events += 1
        length = len(event.data)
        begin = bytes(event.data[:16])
        self.publish(
            "tcp.data.said",
            event,
            number=state.events,
            begin=begin,
            share=self.share,
            minus=-length,
        )
        self.record(
            event,
            number=state.events,
            begin=begin,
            half=length / 3,
            loud=self.loud,
            word=self.word,
            minus=-length,
        )
        if state.events < self.most:
            return
        self.left += 1
        self.alert(event, self.word, signature="said_enough", severity=3)
        event.flow.unsubscribe()

    @on("packet.ip.udp", filter="udp")
    def see_udp(self, event: Event) -> Verdict:
        self.record(event, length=len(event.frame))
        return PASS_FLOW

    @every(1.0)
    def tick(self) -> None:
        self.ticks += 1
        self.record(None)

    def finish(self) -> dict[str, int]:
        return {"ticks": self.ticks, "left": self.left}
