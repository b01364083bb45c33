"""`event.flow.rewrite(...)`: from names to a record for the worker, which translates the flow."""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microbox._core import ffi, lib
from microbox.nf.errors import UsageError

if TYPE_CHECKING:
    from microbox.nf.flow import Flow

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
PORT_MAX = 65535
IPV4 = 4
IPV4_MAPPED = bytes(10) + b"\xff\xff"

RECORD = struct.Struct("=Q16s16sHHI16x")
"""struct mb_rewrite; the core fills in the flow."""

Send = Callable[[Any], None]
"""Leaves a struct mb_rewrite with the event that is being handled."""


class Rewrites:
    """The rewrites of one NF."""

    def __init__(self, owner: type, *, is_declared: bool, send: Send) -> None:
        """`is_declared`: the NF said that it edits headers."""
        self._owner = owner
        self._is_declared = is_declared
        self._send = send
        self._bytes = bytearray(RECORD.size)
        self._record = ffi.cast("struct mb_rewrite *", ffi.from_buffer(self._bytes))

    def rewrite(
        self,
        flow: Flow,
        source: str | None,
        source_port: int | None,
        destination: str | None,
        destination_port: int | None,
    ) -> None:
        """See Flow.rewrite. `flow`: of the event that is being handled."""
        if not self._is_declared:
            raise UsageError(
                f"flow.rewrite: {self._owner.__name__} did not declare that it edits headers: "
                'write edits = "headers" in the class'
            )
        if not flow.id:
            raise UsageError("flow.rewrite: this event has no flow; ask `if event.flow:` first")
        fields = 0
        addresses = [b"", b""]
        if source is not None:
            addresses[0] = packed_address("flow.rewrite: source", source, flow.ip_version)
            fields |= lib.MB_REWRITE_SOURCE
        if destination is not None:
            addresses[1] = packed_address("flow.rewrite: destination", destination, flow.ip_version)
            fields |= lib.MB_REWRITE_DESTINATION
        if source_port is not None:
            _check_port("source_port", source_port, flow)
            fields |= lib.MB_REWRITE_SOURCE_PORT
        if destination_port is not None:
            _check_port("destination_port", destination_port, flow)
            fields |= lib.MB_REWRITE_DESTINATION_PORT
        if not fields:
            raise UsageError('flow.rewrite() says what: flow.rewrite(source="192.0.2.1")')
        ports = source_port or 0, destination_port or 0
        RECORD.pack_into(self._bytes, 0, 0, *addresses, *ports, fields)
        self._send(self._record)


@functools.lru_cache(maxsize=4096)
def packed_address(name: str, text: str, version: int) -> bytes:
    """As in struct mb_five_tuple. Raises UsageError, which says of what (`name`)."""
    try:
        if version == IPV4:
            return IPV4_MAPPED + socket.inet_pton(socket.AF_INET, text)
        return socket.inet_pton(socket.AF_INET6, text)
    except (OSError, TypeError):
        raise UsageError(
            f"{name} of an IPv{version} flow is an IPv{version} address, not {text!r:.60}"
        ) from None


def _check_port(name: str, port: int, flow: Flow) -> None:
    protocol = flow.protocol_number
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
