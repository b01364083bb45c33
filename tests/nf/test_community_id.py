"""Community ID: the vectors of its specification, and the reference implementation on anything."""

from __future__ import annotations

import communityid as reference
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbox import community_id
from microbox.nf.community_id import WITH_PORTS

# From the specification's repository, baseline/baseline_deflt.json.
PORTS_AND_OTHERS = """
6 128.232.110.120 34855 66.35.250.204 80 1:LQU9qZlK+B5F3KDmev6m5PMibrg=
6 2001:470:e5bf:dead:4957:2174:e82c:4887 63943 2607:f8b0:400c:c03::1a 25 1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=
17 192.168.1.52 54585 8.8.8.8 53 1:d/FP5EW3wiY1vCndhwleRRKHowQ=
132 192.168.170.8 7 192.168.170.56 7 1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=
46 10.1.12.1 0 10.1.12.2 0 1:KHlLkgoJW7ifUTyTSgyVfkFHzKw=
"""  # noqa: E501
ICMP = """
1 192.168.0.89 8 192.168.0.1 0 1:X0snYXpgwiv9TZtqg64sgzUn6Dk=
1 192.168.0.1 0 192.168.0.89 8 1:X0snYXpgwiv9TZtqg64sgzUn6Dk=
1 10.0.0.1 11 10.0.0.2 0 1:YHxtAirCG//0OzkcVAukqKQN9xM=
58 fe80::200:86ff:fe05:80da 135 fe80::260:97ff:fe07:69ea 0 1:dGHyGvjMfljg6Bppwm3bg0LO8TY=
58 3ffe:501:410:0:2c0:dfff:fe47:33e 1 3ffe:507:0:1:200:86ff:fe05:80da 4 1:hLZd0XGWojozrvxqE0dWB1iM6R0=
"""  # noqa: E501


def rows(vectors: str) -> list[list[str]]:
    return [line.split() for line in vectors.strip().splitlines()]


@pytest.mark.parametrize("row", [*rows(PORTS_AND_OTHERS), *rows(ICMP)], ids=" ".join)
def test_it_is_what_the_specification_says(row: list[str]) -> None:
    protocol, a, a_port, b, b_port, expected = row
    assert community_id(a, b, int(a_port), int(b_port), int(protocol)) == expected


@pytest.mark.parametrize("row", rows(PORTS_AND_OTHERS), ids=" ".join)
def test_both_directions_have_one_name(row: list[str]) -> None:
    protocol, a, a_port, b, b_port, expected = row
    assert community_id(b, a, int(b_port), int(a_port), int(protocol)) == expected


def test_icmp_that_is_not_answered_has_a_name_for_each_direction() -> None:
    there = community_id("10.0.0.1", "10.0.0.2", 3, 1, 1)
    assert community_id("10.0.0.2", "10.0.0.1", 3, 1, 1) != there


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
PORTS = st.integers(0, 65535) | st.integers(0, 20) | st.integers(128, 150)


@given(
    ADDRESSES,
    st.tuples(PORTS, PORTS),
    st.sampled_from([1, 6, 17, 47, 58, 132]),
    st.integers(0, 65535),
)
def test_it_is_what_the_reference_implementation_says(
    addresses: tuple[object, object], both_ports: tuple[int, int], protocol: int, seed: int
) -> None:
    a, b = map(str, addresses)
    a_port, b_port = both_ports
    if protocol in (1, 58):
        a_port, b_port = a_port % 256, b_port % 256
    ports = (a_port, b_port) if protocol in WITH_PORTS else (None, None)
    flow = reference.FlowTuple(protocol, a, b, *ports)
    expected = reference.CommunityID(seed=seed).calc(flow)
    assert community_id(a, b, a_port, b_port, protocol, seed=seed) == expected
