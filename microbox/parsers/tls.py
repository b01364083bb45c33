"""TLS: the client's first message on any TCP connection, whatever its ports."""

from __future__ import annotations

from typing import Any, ClassVar

from microbox import Event, NetworkFunction, on, parameter
from microbox.parsers._tls_hello import LIMIT, HelloReader

CLIENT = 0  # direction


class Tls(NetworkFunction):
    """Publish what TLS clients offer: server name, application protocols, versions.

    A connection whose first bytes are no client hello is left alone at once, as is one whose
    hello has been read. TLS that begins after other bytes (STARTTLS) is not looked for.
    """

    publishes: ClassVar = ["tcp.data.tls.client_hello"]
    inline: ClassVar = False
    flow_state: ClassVar = HelloReader

    hello_limit: int = parameter(LIMIT, "bytes that a client hello may have")

    def start(self) -> None:
        """Begin to count."""
        self.hellos = 0
        self.malformed = 0

    @on("tcp.data")
    def data(self, event: Event) -> None:
        """Read the next bytes of the client."""
        reader: HelloReader = event.flow.state
        if event.direction != CLIENT:
            if not reader.has_begun:  # a server does not speak first
                event.flow.unsubscribe()
            return
        reader.limit = self.hello_limit
        for hello in reader.feed(event.data):
            self.hellos += 1
            self.publish(
                "tcp.data.tls.client_hello",
                cause=event,
                server_name=hello.server_name,
                application_protocols=",".join(hello.application_protocols),
                version=hello.version,
                cipher_suites=hello.cipher_suites,
            )
        self.malformed += reader.is_malformed
        if reader.is_over:
            event.flow.unsubscribe()

    @on("tcp.gap")
    def gap(self, event: Event) -> None:
        """A hello with a hole in it is of no use."""
        if event.direction == CLIENT:
            event.flow.unsubscribe()

    def finish(self) -> dict[str, Any]:
        """Say how much there was."""
        return {"hellos": self.hellos, "malformed": self.malformed}
