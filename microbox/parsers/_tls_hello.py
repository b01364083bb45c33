"""A TLS client's first message out of its byte stream: no I/O; bytes come in, hellos go out.

The stream holds records (RFC 8446 section 5.1), records hold handshake messages, and a message may
span records as a record may span segments. After a HelloRetryRequest a client says hello again
(section 4.1.4); anything else ends the search. At most `limit` bytes are held.
"""

from __future__ import annotations

from dataclasses import dataclass

HANDSHAKE = 22
CHANGE_CIPHER_SPEC = 20
CLIENT_HELLO = 1
MAJOR_VERSION = 3
RECORD_HEADER = 5  # type, version (2), length (2)
MESSAGE_HEADER = 4  # type, length (3)
RECORD_LENGTH_MAX = (1 << 14) + 2048  # RFC 5246 section 6.2.3, the most that any version allows
RANDOM = 32

SERVER_NAME = 0  # RFC 6066 section 3
APPLICATION_PROTOCOLS = 16  # RFC 7301 section 3.1
SUPPORTED_VERSIONS = 43  # RFC 8446 section 4.2.1
HOST_NAME = 0

LIMIT = 65536

# How a client asks a proxy for a tunnel: HTTP, SOCKS 4, SOCKS 5. A hello may follow in it.
TUNNEL_REQUESTS = (b"CONNECT ", b"\x04", b"\x05")
# Segments in a row that are looked at for it.
TUNNEL_PATIENCE = 10


class HelloError(Exception):
    """These bytes are no client hello."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers. Names are as sent; bytes that are not ASCII are escaped."""

    server_name: str
    application_protocols: tuple[str, ...]
    version: int  # the highest that is offered
    cipher_suites: int  # how many are offered


class Fields:
    """Reads fields one after the other; whatever would go past the end raises HelloError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self.position < len(self.data)

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        end = self.position + length
        if end > len(self.data):
            raise HelloError("a length goes past the end")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def integer(self, length: int) -> int:
        """Return a big-endian integer of `length` bytes."""
        return int.from_bytes(self.take(length), "big")

    def vector(self, length: int) -> bytes:
        """Return a vector whose own length stands before it in `length` bytes."""
        return self.take(self.integer(length))


def is_grease(value: int) -> bool:
    """Whether a value is one that clients offer to keep servers tolerant (RFC 8701)."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF  # noqa: PLR2004


def read_hello(message: bytes) -> ClientHello:
    """Read the body of a client hello (RFC 8446 section 4.1.2). Raises HelloError."""
    fields = Fields(message)
    version = fields.integer(2)
    fields.take(RANDOM)
    fields.vector(1)  # session
    cipher_suites = len(fields.vector(2)) // 2
    fields.vector(1)  # compression methods
    extensions = Fields(fields.vector(2) if fields else b"")
    server_name = ""
    protocols: tuple[str, ...] = ()
    while extensions:
        kind = extensions.integer(2)
        content = Fields(extensions.vector(2))
        if kind == SERVER_NAME and content:
            server_name = read_server_name(Fields(content.vector(2)))
        elif kind == APPLICATION_PROTOCOLS:
            protocols = read_protocols(Fields(content.vector(2)))
        elif kind == SUPPORTED_VERSIONS:
            version = highest_version(Fields(content.vector(1)), version)
    return ClientHello(server_name, protocols, version, cipher_suites)


def read_server_name(names: Fields) -> str:
    """Return the first host name of a list."""
    while names:
        kind = names.integer(1)
        name = names.vector(2)
        if kind == HOST_NAME:
            return name.decode("ascii", "backslashreplace")
    return ""


def read_protocols(names: Fields) -> tuple[str, ...]:
    """Return the names of a list of application protocols."""
    protocols = []
    while names:
        protocols.append(names.vector(1).decode("ascii", "backslashreplace"))
    return tuple(protocols)


def highest_version(versions: Fields, otherwise: int) -> int:
    """Return the highest version of a list."""
    offered = []
    while versions:
        version = versions.integer(2)
        if not is_grease(version):
            offered.append(version)
    return max(offered, default=otherwise)


class HelloReader:
    """Finds the hellos at the beginning of a client's stream."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.records = bytearray()  # bytes of records that are not complete
        self.messages = bytearray()  # handshake bytes of a message that is not complete
        self.has_begun = False
        self.attempts = 0  # to find a hello behind a request for a tunnel
        self.is_over = False  # no hello can come any more
        self.is_malformed = False  # it began like a hello, but was none

    def feed(self, data: bytes | memoryview) -> list[ClientHello]:
        """Read the next bytes; return the hellos that are complete with them."""
        hellos: list[ClientHello] = []
        if self._is_before_tunnel(data):
            return hellos
        self.records += data[: self.limit - len(self.records)]
        try:
            while not self.is_over and self._take_record():
                hellos += self._take_messages()
        except HelloError:
            self.is_over = self.is_malformed = True
        if len(self.records) + len(self.messages) >= self.limit:
            self.is_over = True
        if self.is_over:
            self.records.clear()
            self.messages.clear()
        return hellos

    def _is_before_tunnel(self, data: bytes | memoryview) -> bool:
        """Whether this segment belongs to the talk with a proxy."""
        is_request = not self.has_begun and bytes(data[:8]).startswith(TUNNEL_REQUESTS)
        self.has_begun = True
        if is_request:
            self.attempts = TUNNEL_PATIENCE
        if not self.attempts:
            return False
        self.attempts -= 1
        if not is_request and data[0] == HANDSHAKE:
            self.attempts = 0
            return False
        self.is_over = not self.attempts
        return True

    def _take_record(self) -> bool:
        """Move one record's content to the messages; False: none is complete."""
        records = self.records
        if records and records[0] not in {HANDSHAKE, CHANGE_CIPHER_SPEC}:
            self.is_over = True
        if len(records) > 1 and records[1] != MAJOR_VERSION:
            self.is_over = True
        if len(records) < RECORD_HEADER or self.is_over:
            return False
        length = int.from_bytes(records[3:RECORD_HEADER], "big")
        if length > RECORD_LENGTH_MAX:
            raise HelloError("a record is longer than any version allows")
        kind = records[0]
        # A message of another type needs not be waited for.
        if kind == HANDSHAKE and not self.messages and len(records) > RECORD_HEADER:
            self.is_over = records[RECORD_HEADER] != CLIENT_HELLO
        if len(records) < RECORD_HEADER + length:
            return False
        if kind == HANDSHAKE:
            self.messages += records[RECORD_HEADER : RECORD_HEADER + length]
        del records[: RECORD_HEADER + length]
        return True

    def _take_messages(self) -> list[ClientHello]:
        """Read the messages that are complete."""
        hellos = []
        while len(self.messages) >= MESSAGE_HEADER and not self.is_over:
            if self.messages[0] != CLIENT_HELLO:
                self.is_over = True
                break
            end = MESSAGE_HEADER + int.from_bytes(self.messages[1:MESSAGE_HEADER], "big")
            if end > self.limit:
                raise HelloError("a hello is longer than the limit")
            if len(self.messages) < end:
                break
            hellos.append(read_hello(bytes(self.messages[MESSAGE_HEADER:end])))
            del self.messages[:end]
        return hellos
