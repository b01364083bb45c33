"""Tells systemd, or whoever started the run as a service, how far it is: sd_notify(3).

A message is a datagram of lines `NAME=VALUE` to the Unix socket that the environment names. Nobody
answers, and a manager that is gone is no reason to end a run.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

from microbox.runtime.observer import Reading, how_much

MICROSECONDS = 1_000_000
BEATS = 3  # sent in the time that the watchdog allows: one may be late
STATUS_SECONDS = 1.0  # between two lines that say how far the run is

NOTIFY_SOCKET = "NOTIFY_SOCKET"
WATCHDOG_USEC = "WATCHDOG_USEC"
WATCHDOG_PID = "WATCHDOG_PID"


class ServiceManager:
    """Whom the run reports to; nobody where it is no service. Called from the controller's loop:
    returns at once."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        """`address` is NOTIFY_SOCKET's: a path, or with an @ in front a name in the abstract
        namespace. `watchdog`: seconds after which the run counts as hanging; 0: never."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._beat_every = watchdog / BEATS
        self._next_beat = 0.0
        self._next_status = 0.0
        self._is_stopping = False

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """The one that the environment names. It is taken out of there: what the run starts is not
        to speak to it (sd_notify(3), `unset_environment`)."""
        address = environment.pop(NOTIFY_SOCKET, "")
        microseconds = environment.pop(WATCHDOG_USEC, "")
        process = environment.pop(WATCHDOG_PID, "")
        if not address.startswith(("/", "@")):
            return cls()
        is_watched = microseconds.isdecimal() and process in ("", str(os.getpid()))
        return cls(address, int(microseconds) / MICROSECONDS if is_watched else 0.0)

    def ready(self) -> None:
        """All NFs are started, and packets flow."""
        self._send("READY=1")

    def reading(self, reading: Reading) -> None:
        """Some times a second: the run is alive, and so far."""
        now = time.monotonic()
        if self._beat_every and now >= self._next_beat:
            self._next_beat = now + self._beat_every
            self._send("WATCHDOG=1")
        if now >= self._next_status:
            self._next_status = now + STATUS_SECONDS
            self._send(f"STATUS={in_words(reading)}")

    def stopping(self) -> None:
        """The run ends. From here on the manager's own patience counts, not the watchdog's."""
        if not self._is_stopping:
            self._is_stopping = True
            self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),  # it is gone, or does not read
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
        ):
            out.setblocking(False)
            out.sendto(message.encode(), self._address)


def in_words(reading: Reading) -> str:
    """How far a run is, in one line."""
    return (
        f"{reading.doing}: {reading.packets:,} packets, {reading.events:,} events, "
        f"{how_much(reading.file_read, reading.file_size)} of the input"
    )
