"""HTTP/1: requests and responses out of the bytes of any TCP connection, whatever its ports."""

from __future__ import annotations

from typing import Any, ClassVar

from microbox import Event, NetworkFunction, on, parameter
from microbox.parsers._http_stream import HEAD_LIMIT, Connection, Message


class Http(NetworkFunction):
    """Publish HTTP/1 requests and responses.

    A connection is left alone as soon as both sides began with something else than HTTP, or it
    became a tunnel. After missing bytes, a side is read again from where a segment begins with a
    message.
    """

    publishes: ClassVar = [
        "tcp.data.http.request",
        "tcp.data.http.response",
        "tcp.data.http.end",
    ]
    inline: ClassVar = False
    flow_state: ClassVar = Connection

    head_limit: int = parameter(HEAD_LIMIT, "bytes that the head of a message may have")

    def start(self) -> None:
        """Begin to count."""
        self.connections = 0
        self.requests = 0
        self.responses = 0
        self.other_protocols = 0

    @on("tcp.data")
    def data(self, event: Event) -> None:
        """Read the next bytes of one side."""
        connection: Connection = event.flow.state
        connection.head_limit = self.head_limit
        connection.feed(event.direction, event.data, event.offset)
        if self.publish_found(event, connection):
            event.flow.unsubscribe()

    @on("tcp.gap")
    def gap(self, event: Event) -> None:
        """Find out whether the missing bytes are all of one body."""
        connection: Connection = event.flow.state
        connection.gap(event.direction, event.length)
        if self.publish_found(event, connection):
            event.flow.unsubscribe()

    @on("tcp.end")
    def end(self, event: Event) -> None:
        """End what lasts until the connection is closed."""
        connection: Connection = event.flow.state
        connection.close()
        self.publish_found(event, connection)

    def publish_found(self, event: Event, connection: Connection) -> bool:
        """Publish the messages that are complete; say whether those were the last."""
        for message in connection.take():
            self.publish_message(event, message)
        if not connection.is_over:
            return False
        if connection.requests or connection.responses:
            self.connections += 1
            self.requests += connection.requests
            self.responses += connection.responses
            self.publish(
                "tcp.data.http.end",
                cause=event,
                requests=connection.requests,
                responses=connection.responses,
            )
        elif any(side.segments for side in connection.sides):
            self.other_protocols += 1
        return True

    def publish_message(self, event: Event, message: Message) -> None:
        """Publish one message."""
        headers = message.headers
        if message.is_request:
            self.publish(
                "tcp.data.http.request",
                cause=event,
                offset=message.offset,
                method=message.method,
                target=message.target,
                host=headers.get("host", ""),
                user_agent=headers.get("user-agent", ""),
                version=message.version,
                number=message.number,
            )
        else:
            self.publish(
                "tcp.data.http.response",
                cause=event,
                offset=message.offset,
                reason_phrase=message.reason_phrase,
                content_type=headers.get("content-type", ""),
                version=message.version,
                body_length=message.body_length,
                status=message.status,
                is_complete=message.is_complete,
                number=message.number,
            )

    def finish(self) -> dict[str, Any]:
        """Say how much there was."""
        return {
            "connections": self.connections,
            "requests": self.requests,
            "responses": self.responses,
            "other_protocols": self.other_protocols,
        }
