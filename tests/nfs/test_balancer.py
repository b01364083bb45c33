"""Maglev: who gets what share, and what moves when a backend goes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from microbox.nfs.balancer import Balancer, populate

from microbox.testing import RunFailed, run_nf
from tests.nf.conftest import SERVER, MakeCapture, connection, udp

DEMO = Path(__file__).parents[2] / "captures" / "demo.pcap"
SIZE = 65537
NAMES = [f"10.1.0.{number}" for number in range(1, 11)]


def test_each_backend_has_its_share_of_the_table() -> None:
    """The paper's: 1 % of difference with a table of 100 places a backend; far less with ours."""
    shares = Counter(populate(NAMES, [1] * 10, SIZE))
    assert max(shares.values()) - min(shares.values()) <= 1


def test_weights_are_shares() -> None:
    shares = Counter(populate(NAMES[:3], [1, 2, 5], SIZE))
    for index, weight in enumerate([1, 2, 5]):
        assert shares[index] == pytest.approx(SIZE * weight / 8, rel=0.001)


def test_little_moves_when_a_backend_goes() -> None:
    """What was the lost one's has to move: a tenth. Of the rest the paper sees few move."""
    before = populate(NAMES, [1] * 10, SIZE)
    gone = 3
    rest = [name for name in NAMES if name != NAMES[gone]]
    after = populate(rest, [1] * 9, SIZE)
    moved = sum(
        NAMES[old] != rest[new] for old, new in zip(before, after, strict=True) if old != gone
    )
    assert moved < 0.03 * SIZE


def test_the_order_of_backends_changes_next_to_nothing() -> None:
    """Each has its own permutation; only ties go by turn."""
    before = populate(NAMES, [1] * 10, SIZE)
    turned = NAMES[::-1]
    after = populate(turned, [1] * 10, SIZE)
    moved = sum(NAMES[old] != turned[new] for old, new in zip(before, after, strict=True))
    assert moved < 0.1 * SIZE


def test_a_connection_goes_to_one_backend_and_comes_back_from_it(capture: MakeCapture) -> None:
    frames = connection([b"hello"], port=1234) + connection([b"hello"], port=1235)
    result = run_nf(
        Balancer, capture(frames), address=SERVER, backends=["10.1.0.1:8080", "10.1.0.2"]
    )
    ends: dict[bytes, set[tuple[bytes, bytes]]] = {}
    for one in result.output:
        source, destination = one.data[26:30], one.data[30:34]
        ports = one.data[34:36], one.data[36:38]
        is_forth = source == bytes([10, 0, 0, 1])
        client = ports[not is_forth]
        backend = (destination if is_forth else source), ports[is_forth]
        ends.setdefault(client, set()).add(backend)
    assert len(ends) == 2
    for backends in ends.values():
        (backend,) = backends
        assert backend in {
            (bytes([10, 1, 0, 1]), (8080).to_bytes(2)),
            (bytes([10, 1, 0, 2]), (80).to_bytes(2)),
        }


def test_what_is_for_others_is_left_alone(capture: MakeCapture) -> None:
    frames = [udp(b"to port 2000"), udp(b"to port 53", destination_port=53)]
    backends: dict[str, Any] = {"address": SERVER, "ports": [53], "backends": ["10.1.0.1"]}
    result = run_nf(Balancer, capture(frames), **backends)
    assert result.output[0].data == frames[0]
    assert result.output[1].data[30:34] == bytes([10, 1, 0, 1])


def test_it_is_woken_at_the_start_and_the_end_of_flows_alone() -> None:
    pool = ["10.1.0.1", "10.1.0.2", "10.1.0.3 weight 2"]
    result = run_nf(Balancer, DEMO, address="198.51.100.20", ports=[80], backends=pool)
    flows = sum(result.counters[f"flows_{kind}"] for kind in ("tcp", "udp", "icmp", "other"))
    assert result.counters["entries"] == 2 * flows + 1
    connections = result.summary["connections"]
    total = sum(connections.values())
    assert total == result.counters["gate_rewrites"] > 500
    assert connections["10.1.0.3"] == pytest.approx(total / 2, rel=0.2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backends": []}, "at least one"),
        ({"backends": ["10.1.0.1", "10.1.0.1 weight 2"]}, "none twice"),
        ({"backends": ["10.1.0.1:0"]}, "10.1.0.1:0"),
        ({"backends": ["fd00::1"]}, "IPv4 as the service's"),
        ({"backends": ["10.1.0.1 weight 0"]}, "the weight 1 to 100"),
        ({"backends": ["web"]}, "'web' does not appear"),
        ({"backends": ["10.1.0.1 2"]}, "'10.1.0.1 2' is none"),
        ({"backends": ["[fd00::1]:80"]}, "IPv4 as the service's"),
        ({"backends": ["10.1.0.1"], "table_size": 65536}, "no prime"),
        ({"backends": ["10.1.0.1"], "address": "web"}, "web"),
    ],
)
def test_parameters_that_cannot_be_are_refused(
    capture: MakeCapture, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises((RunFailed, ValueError), match=message):
        run_nf(Balancer, capture([udp(b"")]), **{"address": SERVER, **wrong})
