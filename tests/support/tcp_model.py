"""A slow, obvious model of tcp.monitor, written from the RFCs: what each side is and has said.

It knows no fast path, no table of marks and no arithmetic modulo 2^32: it unwraps each sequence
number into an integer next to what it has seen before. It follows whole connections, from their
handshakes on, without options; tests feed it the same segments as the C core and compare.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stack_driver import FIN, RST, SYN

WRAP = 1 << 32
WINDOW_MIN = 65535  # RFC 9293: what a SYN offers is not in the largest window


def unwrap(number: int, near: int) -> int:
    """The integer that is `number` modulo 2^32 and nearest to `near`."""
    distance = (number - near + WRAP // 2) % WRAP - WRAP // 2
    return near + distance


@dataclass(frozen=True)
class Segment:
    side: int
    flags: int
    sequence: int  # modulo 2^32, as all numbers on the wire
    acknowledgment: int
    length: int
    window: int


@dataclass
class Side:
    """RFC 9293 section 3.3.1, as far as it is seen from the middle. Unwrapped numbers."""

    state: str = "CLOSED"
    initial: int = 0
    next: int = 0
    acknowledged: int = 0
    window: int = 0
    window_max: int = 0
    fin: int | None = None
    fin_is_believed: bool = False
    fin_is_acknowledged: bool = False
    claim: int | None = None  # it acknowledged this, which was not seen to be sent
    has_reset: bool = False
    bytes: set[int] = field(default_factory=set)  # all that were sent, with their numbers

    def fills_hole(self, sequence: int, end: int) -> bool:
        """All of these bytes are missing, and the first one is not of the time before the SYN."""
        return self.initial <= sequence < end and self.bytes.isdisjoint(range(sequence, end))

    def most(self) -> int:
        return max(self.window_max, WINDOW_MIN)


# RFC 9293 section 3.3.2, figure 5, by what happens to the side.
MOVES = {
    "sends SYN": {"CLOSED": "SYN_SENT"},
    "gets SYN": {"CLOSED": "LISTEN"},
    "sends SYN/ACK": {"LISTEN": "SYN_RECEIVED"},
    "gets SYN/ACK": {"SYN_SENT": "ESTABLISHED"},
    "gets ACK of SYN": {"SYN_RECEIVED": "ESTABLISHED"},
    "sends FIN": {
        "SYN_RECEIVED": "FIN_WAIT_1",
        "ESTABLISHED": "FIN_WAIT_1",
        "CLOSE_WAIT": "LAST_ACK",
    },
    "withdraws FIN": {
        "FIN_WAIT_1": "ESTABLISHED",
        "CLOSING": "CLOSE_WAIT",
        "LAST_ACK": "CLOSE_WAIT",
    },
    "gets FIN": {
        "SYN_RECEIVED": "CLOSE_WAIT",
        "ESTABLISHED": "CLOSE_WAIT",
        "FIN_WAIT_1": "CLOSING",
        "FIN_WAIT_2": "TIME_WAIT",
    },
    "gets ACK of FIN": {
        "FIN_WAIT_1": "FIN_WAIT_2",
        "CLOSING": "TIME_WAIT",
        "LAST_ACK": "CLOSED",
    },
}


@dataclass
class Tracker:
    """One connection. `told` has the anomalies of the segment in hand."""

    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))
    told: list[str] = field(default_factory=list)
    ended: bool = False

    def move(self, side: Side, what: str) -> None:
        side.state = MOVES[what].get(side.state, side.state)

    def open(self, first: int, second: int, window: int = 65535) -> None:
        """The handshake: SYN, SYN/ACK, ACK."""
        client, server = self.sides
        client.initial = client.next = first + 1
        server.initial = server.next = second + 1
        client.acknowledged, server.acknowledged = server.next, client.next
        client.window = server.window = window
        client.window_max = window  # of its ACK; the server has sent a SYN only
        self.move(client, "sends SYN")
        self.move(server, "gets SYN")
        self.move(server, "sends SYN/ACK")
        self.move(client, "gets SYN/ACK")
        self.move(server, "gets ACK of SYN")

    def take(self, segment: Segment) -> list[str]:
        """The anomalies of one more segment, in order."""
        self.told = []
        if not self.ended:
            self._take(segment)
        return self.told

    def _take(self, segment: Segment) -> None:
        sender, receiver = self.sides[segment.side], self.sides[1 - segment.side]
        sequence = unwrap(segment.sequence, sender.next)
        end = sequence + segment.length
        if segment.flags & RST:
            return self._reset(sender, receiver, sequence, segment.length)
        if segment.flags & SYN:
            self.told.append("syn_in_established")
            return None
        acknowledgment = unwrap(segment.acknowledgment, receiver.next)
        if self._is_refused(segment, sender, receiver, acknowledgment, end):
            return None
        goes_on = sender.has_reset and (
            end > sender.next or sender.acknowledged < acknowledgment <= receiver.next
        )
        if not self._bytes(segment, sender, receiver, sequence, end):
            return None
        self._acknowledge(segment, sender, receiver, acknowledgment)
        self._acknowledged_fin(receiver, sender)
        if segment.flags & FIN and sender.fin_is_believed and sender.fin == end:
            self.move(sender, "sends FIN") if not sender.fin_is_acknowledged else None
        if goes_on:
            sender.has_reset = False
            self.told.append("rst_ignored")
        if sender.fin_is_acknowledged and receiver.fin_is_acknowledged:
            self.ended = True
            if sender.has_reset or receiver.has_reset:  # a believed RST is how it ended
                sender.state = receiver.state = "CLOSED"
        return None

    def _is_refused(
        self, segment: Segment, sender: Side, receiver: Side, acknowledgment: int, end: int
    ) -> bool:
        """RFC 5961 section 5, with as much room upwards as a window; and what is told only."""
        unsent = acknowledgment - receiver.next
        follows_claim = (
            sender.claim is not None and 0 < acknowledgment - sender.claim <= sender.most()
        )
        too_old = sender.acknowledged - acknowledgment > sender.most()
        if too_old or (unsent > sender.most() and not follows_claim):
            self.told.append("ack_out_of_window")
            if unsent > 0:
                sender.claim = acknowledgment
            return True
        if unsent > 0:
            self.told.append("unsent_acknowledgment")
        length = segment.length + bool(segment.flags & FIN)  # RFC 9293 section 3.4
        is_probe = receiver.window == 0 and length == 1
        past = end + bool(segment.flags & FIN) - (receiver.acknowledged + receiver.window)
        if length and 0 < past <= 1 << 30 and not is_probe:
            self.told.append("beyond_window")
        return False

    def _bytes(
        self, segment: Segment, sender: Side, receiver: Side, sequence: int, end: int
    ) -> bool:
        """What the segment adds to what was sent; False: it counts for nothing."""
        is_fin = bool(segment.flags & FIN)
        if (
            segment.length <= 1
            and sequence == sender.next - 1
            and not is_fin
            and sender.fin is None
        ):
            self.told.append("keep_alive")
            return True
        is_ahead = sequence > sender.next
        past = sequence - (receiver.acknowledged + receiver.window)
        at_claim = receiver.claim is not None and 0 <= sequence - receiver.claim <= 1 << 20
        if abs(sequence - sender.next) > 1 << 30 or (
            is_ahead and past > receiver.most() and not at_claim
        ):
            self.told.append("out_of_window")
            return False
        if sender.fin is not None and segment.length and end > sender.fin:
            self.told.append("data_after_fin")
            if sender.fin_is_acknowledged or sequence > sender.fin:
                return False
            self.move(sender, "withdraws FIN")
            sender.next -= sender.next == sender.fin + 1
            sender.fin, sender.fin_is_believed = None, False
        elif sender.fin is not None and is_fin and end != sender.fin:
            self.told.append("fin_moved")
            return False
        if not segment.length and not is_fin:
            return True
        if is_fin and not sender.fin_is_believed:
            sender.fin, sender.fin_is_believed = end, sequence <= sender.next
        self._place(segment, sender, receiver, sequence, end + is_fin)
        return True

    def _place(
        self, segment: Segment, sender: Side, receiver: Side, sequence: int, end: int
    ) -> None:
        if sequence == sender.next:
            if segment.length == 1 and not receiver.window and sequence == receiver.acknowledged:
                self.told.append("window_probe")
        elif sequence > sender.next or sender.fills_hole(sequence, sequence + segment.length):
            self.told.append("out_of_order")
        else:
            self.told.append("retransmission" if end <= sender.next else "overlap")
        sender.next = max(sender.next, end)
        sender.bytes.update(range(sequence, sequence + segment.length))

    def _acknowledge(
        self, segment: Segment, sender: Side, receiver: Side, acknowledgment: int
    ) -> None:
        if acknowledgment > receiver.next:
            sender.claim = acknowledgment
            return
        sender.claim = None
        edge = sender.acknowledged + sender.window
        sender.acknowledged = max(sender.acknowledged, acknowledgment)
        if sender.acknowledged != acknowledgment:
            return  # RFC 9293 section 3.10.7.4: an old segment says nothing of the window
        is_first = not sender.window_max
        if not segment.window and sender.window:
            self.told.append("zero_window")
        sender.window = segment.window
        sender.window_max = max(sender.window_max, segment.window)
        if not is_first and acknowledgment + segment.window < edge:
            self.told.append("window_shrunk")

    def _acknowledged_fin(self, sender: Side, receiver: Side) -> None:
        """`receiver` may have acknowledged the FIN of `sender`."""
        if sender.fin is None or sender.fin_is_acknowledged or receiver.acknowledged <= sender.fin:
            return
        if not sender.fin_is_believed:
            sender.fin_is_believed = True
            self.move(sender, "sends FIN")
        sender.fin_is_acknowledged = True
        self.move(receiver, "gets FIN")
        self.move(sender, "gets ACK of FIN")

    def _reset(self, sender: Side, receiver: Side, sequence: int, length: int) -> None:
        """RFC 5961 section 3.2: exactly at what the receiver expects next."""
        at_fin = sender.fin_is_believed and sequence == sender.fin
        if not (receiver.acknowledged <= sequence <= sender.next or at_fin):
            self.told.append("rst_out_of_window")
            return
        if length:
            self.told.append("rst_with_data")
        sender.has_reset = True
        if receiver.has_reset or (sender.fin_is_believed and receiver.fin_is_believed):
            self.ended = True
            for side in self.sides:
                side.state = "CLOSED" if side.state != "CLOSED" else side.state
