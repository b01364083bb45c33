"""What the worker's process makes of what it is told."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from microbox._core import ffi, lib
from microbox.channel.messages import HostNetwork
from microbox.runtime.worker_process import host_rows


@pytest.mark.parametrize(
    ("address", "hops"),
    [("10.200.0.1", 1), ("10.1.255.255", 2), ("11.0.0.0", 0), ("2001:db8::1", 3), ("::", 0)],
)
def test_the_core_finds_hosts_in_the_networks_it_is_told(address: str, hops: int) -> None:
    networks = [
        HostNetwork("10.0.0.0/8", 0, 0, 1),
        HostNetwork("10.1.0.0/16", 0, 0, 2),
        HostNetwork("2001:db8::/32", 0, 0, 3),
    ]
    hosts = ffi.new("struct mb_hosts *")
    assert lib.mb_hosts_create(hosts, host_rows(networks), len(networks)) == 0
    octets = ip_address(address).packed
    mapped = (bytes(10) + b"\xff\xff" + octets)[-16:]
    found = lib.mb_hosts_find(hosts, mapped)
    lib.mb_hosts_destroy(hosts)
    assert found.hops == hops
