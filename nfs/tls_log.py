"""Every TLS client's first message."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from microbox import Event, NetworkFunction, on, parameter

VERSIONS = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}


class TlsLog(NetworkFunction):
    """Write one line for each TLS client hello: the server's name and what the client offers."""

    records: ClassVar = {
        "tls": {
            "sni": "text: the server's name",
            "version": "text: the highest that the client offers",
            "alpn": "texts: application protocols that it offers",
            "cipher_suites": "u16: how many it offers",
        }
    }

    names_max: int = parameter(10_000, "server names that are counted for the summary")

    def start(self) -> None:
        """Begin to count."""
        self.hellos = 0
        self.names: Counter[str] = Counter()

    @on("tls.client_hello")
    def hello(self, event: Event) -> None:
        """Write one hello."""
        self.hellos += 1
        name = event.server_name
        if name and (name in self.names or len(self.names) < self.names_max):
            self.names[name] += 1
        protocols = event.application_protocols
        self.record(
            event,
            event_type="tls",
            sni=name,
            version=VERSIONS.get(event.version, f"0x{event.version:04x}"),
            alpn=protocols.split(",") if protocols else [],
            cipher_suites=event.cipher_suites,
        )

    def finish(self) -> dict[str, Any]:
        """Say how many there were, and for which servers."""
        ordered = sorted(self.names.items(), key=lambda one: (-one[1], one[0]))
        return {"hellos": self.hellos, "names": dict(ordered)}
