"""HTTP/1 (RFC 9112) out of two byte streams: no I/O, no clock; bytes come in, messages go out.

httptools reads the head of each message. The length of its body is worked out here, since for an
observer it follows from more than the message: from the request that a response answers, and from
bytes that the capture does not have. A side's state is the method that reads its next bytes.

What a connection holds is bounded: `head_limit` bytes a side for a head, chunk line or trailer
that is not complete, and `PENDING_LIMIT` requests that wait for their response.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

import httptools

# As far as they are there, the first bytes of a request or a response.
BEGINNING = re.compile(rb"[A-Z-]{1,32}(?: |\Z)|HTTP/")
# A first line, complete.
START_LINE = re.compile(
    rb"(?:[A-Z][A-Z-]{2,31} [^\r\n]+ HTTP/1\.\d|HTTP/1\.\d [1-9]\d\d(?: [^\r\n]*)?)\r?\n"
)
HEAD_END = re.compile(rb"\n\r?\n")
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}(?=[ \t;\r\n])")

CARRIAGE_RETURN, LINE_FEED = b"\r\n"
HEAD_LIMIT = 65536
PENDING_LIMIT = 100
# Segments at which a side that lost its place looks for a new message, before it gives up.
RESYNCHRONISATION_LIMIT = 1000
# Segments of a side that speaks no HTTP, while the other one has not said a word.
PATIENCE = 16
# First byte of a client that asks a SOCKS proxy for a tunnel (RFC 1928): HTTP may follow in it.
SOCKS = {b"\x04", b"\x05"}

SWITCHING_PROTOCOLS = 101
SUCCESS = range(200, 300)
NO_CONTENT = 204
NOT_MODIFIED = 304

Data = bytes | memoryview


class Framing(Enum):
    """How the end of a body is found (RFC 9112 section 6.3)."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()
    TUNNEL = auto()  # no HTTP from here on
    UNDECIDED = auto()  # CONNECT: the response decides


@dataclass(slots=True)
class Message:
    """A request or a response. Texts are as sent; bytes that are not UTF-8 are escaped."""

    offset: int  # of its first byte in its side's stream
    is_request: bool
    method: str = ""
    target: str = ""
    status: int = 0
    reason_phrase: str = ""
    version: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # by lower-case name; repeats joined
    number: int = 0  # of the request on its connection, from 1; 0: not known
    body_length: int = 0  # bytes of body seen, after chunked coding was taken off
    is_complete: bool = False


class HeadError(Exception):
    """These bytes are not the head of an HTTP message."""


def text(value: bytes) -> str:
    """Decode what a peer sent; bytes that are not UTF-8 are escaped."""
    return value.decode("utf-8", "backslashreplace")


class _Head:
    """What httptools calls while it reads a head."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.url = b""
        self.is_complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, status: bytes) -> None:
        self.message.reason_phrase += text(status)

    def on_header(self, name: bytes, value: bytes) -> None:
        key = text(name).lower()
        headers = self.message.headers
        headers[key] = f"{headers[key]}, {text(value)}" if key in headers else text(value)

    def on_headers_complete(self) -> None:
        self.is_complete = True


def read_head(head: bytes, offset: int) -> Message:
    """Read one head, the empty line included. Raises HeadError."""
    message = Message(offset, is_request=not head.startswith(b"HTTP/"))
    reader = _Head(message)
    parser: httptools.HttpRequestParser | httptools.HttpResponseParser
    if message.is_request:
        parser = httptools.HttpRequestParser(reader)
    else:
        parser = httptools.HttpResponseParser(reader)
    # An observer reads what some server or client would accept.
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_chunked_length=True,
        lenient_transfer_encoding=True,
        lenient_optional_lf_after_cr=True,
        lenient_optional_cr_before_lf=True,
    )
    try:
        parser.feed_data(head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        # httptools stops behind heads that ask for another protocol; the response decides that.
        if not reader.is_complete:
            raise HeadError(str(error)) from None
    if not reader.is_complete:
        raise HeadError("the head is not complete")
    message.version = parser.get_http_version()
    if isinstance(parser, httptools.HttpRequestParser):
        message.method = text(parser.get_method())
        message.target = text(reader.url)
    else:
        message.status = parser.get_status_code()
    return message


def is_interim(status: int) -> bool:
    """Whether another response to the same request follows (RFC 9110 section 15.2)."""
    return status < SUCCESS.start and status != SWITCHING_PROTOCOLS


def framing_of(message: Message, method: str) -> Framing:
    """Say how a message's body ends. `method` is that of the request, "" where not known."""
    if message.is_request and method == "CONNECT":
        return Framing.UNDECIDED
    if not message.is_request:
        status = message.status
        if status == SWITCHING_PROTOCOLS or (method == "CONNECT" and status in SUCCESS):
            return Framing.TUNNEL
        if is_interim(status) or status in {NO_CONTENT, NOT_MODIFIED} or method == "HEAD":
            return Framing.NONE
    codings = message.headers.get("transfer-encoding", "").lower()
    if codings.rpartition(",")[2].strip() == "chunked":
        return Framing.CHUNKED
    if not codings and message.headers.get("content-length", "").isdecimal():
        return Framing.LENGTH
    return Framing.NONE if message.is_request else Framing.UNTIL_CLOSE


class Side:
    """What one side sends."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.message: Message | None = None  # whose body is being read
        self.remaining = 0  # bytes of the body or chunk to come
        self.held = bytearray()  # of a head, chunk line or trailer that is not complete
        self.held_offset = 0  # of the head that is held
        self.is_line_checked = False  # of the head that is held
        self.attempts = 0  # to find a new message
        self.segments = 0
        self.messages = 0
        self.read: Callable[[Data, int, int], int] = self.read_head

    def feed(self, data: Data, offset: int) -> None:
        """Read the next bytes; `offset` is that of the first one in the stream."""
        self.segments += 1
        position = 0
        while position < len(data):
            position = self.read(data, position, offset + position)

    def gap(self, length: int) -> None:
        """Skip bytes that will never come, where they lie inside of one body."""
        in_counted_body = self.read in (self.read_length, self.read_chunk)
        if in_counted_body and length <= self.remaining:
            self.remaining -= length
            if self.remaining == 0:
                self._counted_body_ends()
            return
        if self.read in (self.read_until_close, self.ignore):
            return
        self.lose()

    def close(self) -> None:
        """No more bytes come."""
        self._finish_message(is_complete=self.read == self.read_until_close)
        self.read = self.ignore

    def lose(self) -> None:
        """Forget the place in the stream, and look for a message at the next segments' start."""
        self._finish_message(is_complete=False)
        self.held.clear()
        self.connection.pending.clear()
        self.read = self.search

    # --- states: each reads from `position` on and returns where the next one goes on ---

    def read_head(self, data: Data, position: int, offset: int) -> int:
        """Collect a head up to its empty line."""
        if not self.held:
            # RFC 9112 section 2.2: empty lines before a request are ignored.
            if data[position] in {CARRIAGE_RETURN, LINE_FEED}:
                return position + 1
            self.held_offset = offset
            self.is_line_checked = False
        before = len(self.held)
        self.held += data[position : position + self.connection.head_limit - before]
        if not self._may_be_head(before):
            return self._refuse(data)
        end = HEAD_END.search(self.held, max(0, before - 2))
        if end is None:
            if len(self.held) >= self.connection.head_limit:
                return self._refuse(data)
            return len(data)
        head = bytes(self.held[: end.end()])
        self.held.clear()
        try:
            self._begin_message(read_head(head, self.held_offset))
        except HeadError:
            return self._refuse(data)
        return position + end.end() - before

    def read_length(self, data: Data, position: int, offset: int) -> int:  # noqa: ARG002
        """Read a body, or the data of a chunk, whose length is known."""
        assert self.message is not None
        length = min(self.remaining, len(data) - position)
        self.remaining -= length
        self.message.body_length += length
        if self.remaining == 0:
            self._counted_body_ends()
        return position + length

    def read_chunk(self, data: Data, position: int, offset: int) -> int:
        """Read the data of a chunk and the line end behind it."""
        return self.read_length(data, position, offset)

    def read_chunk_size(self, data: Data, position: int, offset: int) -> int:  # noqa: ARG002
        """Read the line before a chunk (RFC 9112 section 7.1)."""
        line, position = self._line(data, position)
        if line is None:
            return position
        size = CHUNK_SIZE.match(line)
        if size is None:
            self.lose()
            return len(data)
        self.remaining = int(size[0], 16)
        self.read = self.read_chunk if self.remaining else self.read_trailer
        return position

    def read_chunk_end(self, data: Data, position: int, offset: int) -> int:  # noqa: ARG002
        """Read the line end behind a chunk's data."""
        line, position = self._line(data, position)
        if line is None:
            return position
        if line.strip():
            self.lose()
            return len(data)
        self.read = self.read_chunk_size
        return position

    def read_trailer(self, data: Data, position: int, offset: int) -> int:  # noqa: ARG002
        """Read the fields behind the last chunk, up to an empty line."""
        line, position = self._line(data, position)
        if line is not None and not line.strip():
            self._finish_message(is_complete=True)
        return position

    def read_until_close(self, data: Data, position: int, offset: int) -> int:  # noqa: ARG002
        """Read a body that ends with the connection."""
        assert self.message is not None
        self.message.body_length += len(data) - position
        return len(data)

    def search(self, data: Data, position: int, offset: int) -> int:
        """Look for a whole start line at a segment's start: there a new message begins."""
        if position == 0 and START_LINE.match(data):
            self.read = self.read_head
            return self.read_head(data, position, offset)
        self.attempts += 1
        if self.attempts >= RESYNCHRONISATION_LIMIT:
            self.read = self.ignore
        return len(data)

    def ignore(self, data: Data, position: int, offset: int) -> int:  # noqa: ARG002
        """Read nothing any more."""
        return len(data)

    # --- transitions ---

    def _begin_message(self, message: Message) -> None:
        self.messages += 1
        self.message = message
        framing = self.connection.begin(self, message)
        match framing:
            case Framing.LENGTH:
                self.remaining = int(message.headers["content-length"])
                self.read = self.read_length if self.remaining else self.read_head
                if not self.remaining:
                    self._finish_message(is_complete=True)
            case Framing.CHUNKED:
                self.read = self.read_chunk_size
            case Framing.UNTIL_CLOSE:
                self.read = self.read_until_close
            case Framing.UNDECIDED:
                self.message = None
                self.read = self.wait
            case Framing.TUNNEL:
                self._finish_message(is_complete=True)
                self.read = self.ignore
            case Framing.NONE:
                self._finish_message(is_complete=True)

    def wait(self, data: Data, position: int, offset: int) -> int:  # noqa: ARG002
        """Let bytes behind a CONNECT pass that came before its answer: they are no HTTP."""
        self.read = self.search
        return len(data)

    def _counted_body_ends(self) -> None:
        if self.read == self.read_chunk:
            self.read = self.read_chunk_end
        else:
            self._finish_message(is_complete=True)

    def _finish_message(self, is_complete: bool) -> None:
        self.read = self.read_head
        message, self.message = self.message, None
        if message is not None:
            message.is_complete = is_complete
            self.connection.end(message)

    def _may_be_head(self, before: int) -> bool:
        """Judge what is held by its first line, once that is complete, so that work is bounded."""
        if self.is_line_checked:
            return True
        if self.held.find(b"\n", before) < 0:
            return BEGINNING.match(self.held) is not None
        self.is_line_checked = True
        return START_LINE.match(self.held) is not None

    @property
    def is_refused(self) -> bool:
        """Whether it spoke, but no HTTP from the first byte on."""
        return self.read == self.ignore and self.messages == 0 and self.segments > 0

    def _refuse(self, data: Data) -> int:
        is_first = self.messages == 0 and self.attempts == 0
        self.connection.is_socks |= is_first and bytes(self.held[:1]) in SOCKS
        self.lose()
        if is_first and not self.connection.is_socks:
            self.read = self.ignore
        return len(data)

    def _line(self, data: Data, position: int) -> tuple[bytes | None, int]:
        """Take a line from what is held and `data`; None: not complete."""
        rest = bytes(data[position : position + self.connection.head_limit - len(self.held)])
        end = rest.find(b"\n")
        if end >= 0:
            line = bytes(self.held) + rest[: end + 1]
            self.held.clear()
            return line, position + end + 1
        self.held += rest
        if len(self.held) >= self.connection.head_limit:
            self.lose()
        return None, len(data)


class Connection:
    """Both sides. `found` collects messages until the caller takes them.

    A request is found when its head is complete, a response when its body is.
    """

    def __init__(self, head_limit: int = HEAD_LIMIT) -> None:
        self.head_limit = head_limit
        self.sides = (Side(self), Side(self))
        # Number and method of the requests that wait for their response.
        self.pending: deque[tuple[int, str]] = deque()
        self.requests = 0
        self.responses = 0
        self.found: list[Message] = []
        self.is_socks = False
        self.is_tunnel = False

    @property
    def is_over(self) -> bool:
        """Whether no message can come any more."""
        if self.is_tunnel or all(side.read == side.ignore for side in self.sides):
            return True
        # A server may answer in HTTP what was none, but most often speaks none either.
        one, other = self.sides
        return self._is_waited_for_too_long(one, other) or self._is_waited_for_too_long(other, one)

    def feed(self, direction: int, data: Data, offset: int) -> None:
        """Read the next bytes of one side."""
        self.sides[direction].feed(data, offset)

    def gap(self, direction: int, length: int) -> None:
        """Skip bytes of one side that will never come."""
        self.sides[direction].gap(length)

    def close(self) -> None:
        """Both sides are closed."""
        for side in self.sides:
            side.close()

    def begin(self, side: Side, message: Message) -> Framing:
        """Take note of a head; say how its body ends."""
        if message.is_request:
            self.requests += 1
            message.number = self.requests
            if len(self.pending) >= PENDING_LIMIT:
                self.pending.clear()
            self.pending.append((message.number, message.method))
            self.found.append(message)
            return framing_of(message, message.method)
        self.responses += 1
        message.number, method = self._answered_by(message)
        framing = framing_of(message, method)
        self.is_tunnel = framing is Framing.TUNNEL
        other = self.sides[1] if side is self.sides[0] else self.sides[0]
        if not self.is_tunnel and not is_interim(message.status) and other.read == other.wait:
            other.read = other.read_head
        return framing

    def end(self, message: Message) -> None:
        """Take note that a body ended."""
        if not message.is_request:
            self.found.append(message)

    def take(self) -> list[Message]:
        """Return what was found since the last call."""
        found, self.found = self.found, []
        return found

    @staticmethod
    def _is_waited_for_too_long(silent: Side, speaking: Side) -> bool:
        return silent.segments == 0 and speaking.is_refused and speaking.segments >= PATIENCE

    def _answered_by(self, response: Message) -> tuple[int, str]:
        if not self.pending:
            return 0, ""
        return self.pending[0] if is_interim(response.status) else self.pending.popleft()
