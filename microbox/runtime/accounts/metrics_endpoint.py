"""An HTTP server for Prometheus, on an address that a person chose.

The library's server has threads of its own; counters are read in the controller's loop, which alone
knows what there is to read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from microbox.chain.listening import Address
from microbox.runtime.accounts.metrics import Metrics
from microbox.runtime.errors import USAGE, RunError
from microbox.runtime.running import Running

PATIENCE = 5.0  # seconds until the loop has read the counters


class MetricsEndpoint(Collector):
    """Serves until it is closed. Made inside the loop."""

    def __init__(self, address: Address) -> None:
        """There is nothing to be seen before the first look. Raises RunError."""
        self._metrics: Metrics | None = None
        self._loop = asyncio.get_running_loop()
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, _ = start_http_server(address.port, address.host, registry)
        except (OSError, UnicodeError) as error:  # the latter: of a host's name
            reason = error.strerror if isinstance(error, OSError) else error
            raise RunError(
                f"metrics at {address}: {reason}; expected an address of this machine with "
                "a port that is free (0: any)",
                status=USAGE,
            ) from None
        self.address = Address(address.host, self._server.server_port)

    def describe(self) -> Iterable[Metric]:
        """Not known before the run goes."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Called in a thread of the server's."""
        return asyncio.run_coroutine_threadsafe(self._read(), self._loop).result(PATIENCE)

    async def _read(self) -> list[Metric]:
        return self._metrics.families() if self._metrics else []

    def look(self, running: Running) -> None:
        """To be called some times a second while packets flow."""
        if self._metrics is None:
            self._metrics = Metrics(running)
        self._metrics.look(time.monotonic())

    async def close(self) -> None:
        """Takes no more requests. One that is being read meanwhile finds nothing: what was counted
        is unmapped soon."""
        self._metrics = None
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
