"""Words in TCP streams are written over: an example of an NF that edits bytes of streams."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from microbox import Event, NetworkFunction, ParameterError, on, parameter


class Tails:
    """The last bytes of both sides of a connection, in which a word may have begun."""

    __slots__ = ("tails",)

    def __init__(self) -> None:
        self.tails = [b"", b""]


class Redact(NetworkFunction):
    """Write over each occurrence of some words in TCP streams.

    Whatever segments the sender cuts, and however often it sends them, the receiver gets the edited
    stream. Of a word that is cut by the end of a segment, what came before has left: what comes
    behind is written over.
    """

    edits = "payload"
    flow_state: ClassVar = Tails

    words: list[str] = parameter(doc="what is written over")
    mask: str = parameter("*", "the character that takes the place of each of a word's bytes")

    def start(self) -> None:
        """Compile one pattern for all words, longer ones first."""
        words = sorted((word.encode() for word in self.words if word), key=len, reverse=True)
        if not words:
            raise ParameterError("words", "expected at least one word")
        if len(self.mask.encode()) != 1:
            raise ParameterError("mask", "expected one character of ASCII")
        self.pattern = re.compile(b"|".join(map(re.escape, words)))
        self.kept = len(words[0]) - 1
        self.found = 0

    @on("tcp.data")
    def redact(self, event: Event) -> None:
        """Look for words that end in the event's bytes."""
        tails = event.flow.state.tails
        tail = tails[event.direction]
        stream = tail + bytes(event.data)
        masked = bytearray(stream)
        before = self.found
        for match in self.pattern.finditer(stream):
            if match.end() > len(tail):
                masked[slice(*match.span())] = self.mask.encode() * len(match[0])
                self.found += 1
        if self.found > before:  # one edit of them all: an event has room for 64
            event.edit(payload=masked[len(tail) :])
        tails[event.direction] = stream[len(stream) - self.kept :] if self.kept else b""

    @on("tcp.gap")
    def gap(self, event: Event) -> None:
        """Begin anew behind missing bytes."""
        event.flow.state.tails[event.direction] = b""

    def finish(self) -> dict[str, Any]:
        """Say how many words there were."""
        return {"redacted": self.found}
