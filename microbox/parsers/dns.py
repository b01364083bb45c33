"""DNS (RFC 1035) over UDP and TCP, multicast DNS (RFC 6762) and LLMNR (RFC 4795)."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype

from microbox import PASS, PASS_FLOW, Event, NetworkFunction, Verdict, on, parameter

LENGTH = 2  # bytes before each message over TCP (RFC 1035 section 4.2.2)
PORT = 53
# What dnspython raises at bytes that break the rules.
MALFORMED = (dns.exception.DNSException, ValueError)
ADDRESS_TYPES = {dns.rdatatype.A, dns.rdatatype.AAAA}


class MessageStream:
    """Messages out of one side's bytes. Holds at most one message: 65,537 bytes."""

    def __init__(self) -> None:
        self.held = bytearray()

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Read the next bytes; return the messages that are complete with them."""
        self.held += data
        messages = []
        position = 0
        while len(self.held) - position >= LENGTH:
            begin = position + LENGTH
            end = begin + int.from_bytes(self.held[position:begin], "big")
            if end > len(self.held):
                break
            messages.append(bytes(self.held[begin:end]))
            position = end
        del self.held[:position]
        return messages


class Streams:
    """Both sides of a TCP connection."""

    def __init__(self) -> None:
        self.sides = (MessageStream(), MessageStream())


def parse(data: bytes) -> tuple[dns.message.Message | None, bool]:
    """Read a message, or at least its questions. None: it is no message; False: not all of it is.

    Not dnspython's `continue_on_error`: the errors that it keeps refer to the frames that called
    it, in a cycle, and would keep the event alive.
    """
    with contextlib.suppress(*MALFORMED):
        return dns.message.from_wire(data, ignore_trailing=True), True
    with contextlib.suppress(*MALFORMED):
        return dns.message.from_wire(data, question_only=True, ignore_trailing=True), False
    return None, False


def addresses(message: dns.message.Message) -> str:
    """List the addresses of the answers, comma-separated."""
    return ",".join(
        record.to_text()
        for answer in message.answer
        if answer.rdtype in ADDRESS_TYPES
        for record in answer
    )


class Dns(NetworkFunction):
    """Publish DNS questions and answers on ports 53, 5353 (mDNS) and 5355 (LLMNR)."""

    publishes: ClassVar = ["dns.query", "dns.response"]
    inline: ClassVar = False
    flow_state: ClassVar = Streams

    multicast: bool = parameter(True, "read mDNS and LLMNR too, not just port 53")

    def start(self) -> None:
        """Begin to count."""
        self.queries = 0
        self.responses = 0
        self.malformed = 0

    @on("udp.datagram", filter="udp port 53 or udp port 5353 or udp port 5355")
    def datagram(self, event: Event) -> Verdict:
        """Read one message."""
        if not self.multicast and PORT not in {
            event.flow.source_port,
            event.flow.destination_port,
        }:
            return PASS_FLOW
        self.read(event, bytes(event.data))
        return PASS

    @on("tcp.data", filter="tcp port 53")
    def data(self, event: Event) -> Verdict:
        """Read the messages that are complete."""
        streams: Streams = event.flow.state
        for message in streams.sides[event.direction].feed(event.data):
            if not self.read(event, message):
                return PASS_FLOW
        return PASS

    @on("tcp.gap", filter="tcp port 53")
    def gap(self, event: Event) -> Verdict:  # noqa: ARG002
        """Leave a connection with a hole in it: where the next message begins is not known."""
        return PASS_FLOW

    def read(self, event: Event, data: bytes) -> bool:
        """Publish one message; False: it is none."""
        message, is_whole = parse(data)
        self.malformed += not is_whole
        if message is None:
            return False
        question = message.question[0] if message.question else None
        fields: dict[str, Any] = {
            "question": question.name.to_text(omit_final_dot=True) if question is not None else "",
            "identifier": message.id,
            "question_type": int(question.rdtype) if question is not None else 0,
            "response_code": int(message.rcode()),
            "answers": sum(len(answer) for answer in message.answer),
            "questions": len(message.question),
            "length": len(data),
        }
        if message.flags & dns.flags.QR:
            self.responses += 1
            self.publish("dns.response", cause=event, **fields, addresses=addresses(message))
        else:
            self.queries += 1
            self.publish("dns.query", cause=event, **fields)
        return True

    def finish(self) -> dict[str, Any]:
        """Say how much there was."""
        return {
            "queries": self.queries,
            "responses": self.responses,
            "malformed": self.malformed,
        }
