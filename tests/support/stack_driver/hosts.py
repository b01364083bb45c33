"""What the stack is told of the hosts that packets go to."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from microbox._core import ffi, lib

MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True)
class Hosts:
    """A network, and how its hosts' systems put together what arrives in pieces."""

    network: str = "0.0.0.0/0"
    segments: str = "first"
    fragments: str = "first"
    hops: int = 0  # routers between here and there; 0: not known


def _policy(name: str) -> int:
    return int(getattr(lib, f"MB_OVERLAP_{name.upper()}"))


def host_networks(hosts: Sequence[Hosts]) -> Any:
    """The C array."""
    array = ffi.new("struct mb_host_network[]", len(hosts))
    for one, place in zip(hosts, array, strict=True):
        network = ipaddress.ip_network(one.network)
        packed = network.network_address.packed
        is_ipv4 = len(packed) == 4
        place.address = MAPPED + packed if is_ipv4 else packed
        place.prefix_length = network.prefixlen + (96 if is_ipv4 else 0)
        place.profile.segments = _policy(one.segments)
        place.profile.fragments = _policy(one.fragments)
        place.profile.hops = one.hops
    return array
