"""`event.flow.rewrite(...)`: from names to a record for the worker, which translates the flow."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from microbox._core import ffi, lib
from microbox.nf.errors import UsageError

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
PORT_MAX = 65535

Send = Callable[[Any], None]
"""Leaves a struct mb_rewrite with the event that is being handled."""


class Rewrites:
    """The rewrites of one NF."""

    def __init__(self, owner: type, *, is_declared: bool, send: Send) -> None:
        """`is_declared`: the NF said that it edits headers."""
        self._owner = owner
        self._is_declared = is_declared
        self._send = send
        self._record = ffi.new("struct mb_rewrite *")

    def rewrite(
        self,
        entry: Any,
        source: str | None,
        source_port: int | None,
        destination: str | None,
        destination_port: int | None,
    ) -> None:
        """See Flow.rewrite. `entry`: of the event that is being handled."""
        if not self._is_declared:
            raise UsageError(
                f"flow.rewrite: {self._owner.__name__} did not declare that it edits headers: "
                'write edits = "headers" in the class'
            )
        if not entry.flow:
            raise UsageError("flow.rewrite: this event has no flow; ask `if event.flow:` first")
        record, tuple_ = self._record, entry.payload.flow.tuple
        record.fields = 0
        if source is not None:
            record.source = _address("source", source, tuple_.ip_version)
            record.fields |= lib.MB_REWRITE_SOURCE
        if destination is not None:
            record.destination = _address("destination", destination, tuple_.ip_version)
            record.fields |= lib.MB_REWRITE_DESTINATION
        if source_port is not None:
            record.source_port = _port("source_port", source_port, tuple_.protocol)
            record.fields |= lib.MB_REWRITE_SOURCE_PORT
        if destination_port is not None:
            record.destination_port = _port("destination_port", destination_port, tuple_.protocol)
            record.fields |= lib.MB_REWRITE_DESTINATION_PORT
        if not record.fields:
            raise UsageError('flow.rewrite() says what: flow.rewrite(source="192.0.2.1")')
        self._send(record)


def _address(name: str, text: str, version: int) -> bytes:
    try:
        if version == 4:  # noqa: PLR2004 (of IP)
            return bytes(10) + b"\xff\xff" + socket.inet_pton(socket.AF_INET, text)
        return socket.inet_pton(socket.AF_INET6, text)
    except (OSError, TypeError):
        raise UsageError(
            f"flow.rewrite: {name} of an IPv{version} flow is an IPv{version} address, not "
            f"{text!r:.60}"
        ) from None


def _port(name: str, port: int, protocol: int) -> int:
    if protocol in (ICMP, ICMPV6) and name == "destination_port":
        raise UsageError(
            "flow.rewrite: an echo has one identifier, which is its source_port; it has no "
            "destination_port"
        )
    if protocol not in (TCP, UDP, ICMP, ICMPV6):
        raise UsageError(
            f"flow.rewrite: {name} is a field of TCP, UDP and ICMP echo; this flow is of protocol "
            f"{protocol}"
        )
    if type(port) is not int or not 0 <= port <= PORT_MAX:
        raise UsageError(f"flow.rewrite: {name} is a number up to {PORT_MAX}, not {port!r:.60}")
    return port
