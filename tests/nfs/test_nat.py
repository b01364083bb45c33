"""A network behind a few addresses: who gets which name, for how long, and what the packets say."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from microbox import DROP_FLOW
from microbox.testing import RunFailed, run_nf
from tests.conftest import Tshark
from tests.nf.conftest import MakeCapture, connection, ip

DEMO = Path(__file__).parents[2] / "captures" / "demo.pcap"
HOSTS = ["192.0.2.0/24"]
TWO_PORTS: dict[str, Any] = {
    "outside": ["192.0.2.1"],
    "first_port": 5000,
    "last_port": 5001,
}


def datagram(
    source: str, port: int, destination: str = "198.51.100.1", back: bool = False
) -> bytes:
    ends = (port, 53)
    header = b"".join(one.to_bytes(2) for one in (ends[::-1] if back else ends)) + b"\0\x08\0\0"
    return ip(*((destination, source) if back else (source, destination)), 17, header)


def names(data: bytes) -> tuple[str, int, str, int]:
    source, destination = (".".join(map(str, data[at : at + 4])) for at in (26, 30))
    return source, int.from_bytes(data[34:36]), destination, int.from_bytes(data[36:38])


def test_hosts_inside_get_an_outside_name_both_ways(capture: MakeCapture) -> None:
    frames = [datagram("10.0.0.5", 7000), datagram("10.0.0.5", 7000, back=True)]
    result = run_nf("nat", capture(frames), outside=["192.0.2.1"])
    assert [names(one.data) for one in result.output] == [
        ("192.0.2.1", 1024, "198.51.100.1", 53),
        ("198.51.100.1", 53, "192.0.2.1", 1024),
    ]
    assert result.records[-1]["inside"] == "10.0.0.5:7000"
    assert result.records[-1]["outside"] == "192.0.2.1:1024"


def test_an_endpoint_has_one_name_wherever_it_talks_to(capture: MakeCapture) -> None:
    """RFC 4787 REQ-1, and REQ-2: all of a host's have one address."""
    frames = [
        datagram("10.0.0.5", 7000, "198.51.100.1"),
        datagram("10.0.0.5", 7000, "198.51.100.2"),
        datagram("10.0.0.5", 7001, "198.51.100.1"),
        datagram("10.0.0.6", 7000, "198.51.100.1"),
    ]
    result = run_nf("nat", capture(frames), outside=["192.0.2.1", "192.0.2.2"])
    assert [names(one.data)[:2] for one in result.output] == [
        ("192.0.2.1", 1024),
        ("192.0.2.1", 1024),
        ("192.0.2.1", 1025),
        ("192.0.2.2", 1024),
    ]
    assert result.summary["mappings"] == 3


def test_flows_from_outside_and_within_are_left_alone(capture: MakeCapture) -> None:
    frames = [datagram("198.51.100.9", 7000, "10.0.0.5"), datagram("10.0.0.5", 7000, "10.0.0.6")]
    result = run_nf("nat", capture(frames), outside=["192.0.2.1"])
    assert [one.data for one in result.output] == frames


def test_a_name_is_given_again_when_its_last_flow_is_over(capture: MakeCapture) -> None:
    frames = [datagram("10.0.0.5", 7000), datagram("10.0.0.6", 7000), datagram("10.0.0.7", 7000)]
    minutes = 60_000_000_000
    timeout = {"udp_timeout": "30 s", "udp_unanswered_timeout": "30 s"}
    result = run_nf("nat", capture(frames, minutes), stack=timeout, **TWO_PORTS)
    assert [names(one.data)[1] for one in result.output] == [5000, 5001, 5000]
    assert result.summary["flows refused"] == 0


def test_where_no_port_is_left_the_flow_is_dropped_and_people_are_told(
    capture: MakeCapture,
) -> None:
    frames = [datagram("10.0.0.5", 7000 + number) for number in range(5)]
    result = run_nf("nat", capture(frames), **TWO_PORTS)
    assert len(result.output) == 2
    assert result.verdicts == Counter({DROP_FLOW: 3})
    assert [one.message for one in result.alerts] == ["no outside port is left for UDP of 10.0.0.5"]
    assert result.summary["flows refused"] == 3


def test_each_protocol_has_ports_of_its_own(capture: MakeCapture) -> None:
    frames = [datagram("10.0.0.1", 7000), *connection([b"hello"])]
    result = run_nf("nat", capture(frames), outside=["192.0.2.1"], inside=["10.0.0.1"])
    assert names(result.output[0].data)[:2] == ("192.0.2.1", 1024)
    assert names(result.output[1].data)[:2] == ("192.0.2.1", 1024)


def test_port_zero_takes_no_port_from_others(capture: MakeCapture) -> None:
    frames = [datagram("10.0.0.5", 0), datagram("10.0.0.6", 7000), datagram("10.0.0.7", 7000)]
    result = run_nf("nat", capture(frames), outside=["192.0.2.1"])
    assert [names(one.data)[:2] for one in result.output] == [
        ("192.0.2.1", 0),
        ("192.0.2.1", 1024),
        ("192.0.2.1", 1025),
    ]


def test_it_is_woken_at_the_start_and_the_end_of_flows_alone() -> None:
    result = run_nf("nat", DEMO, outside=["203.0.113.1"], inside=HOSTS)
    flows = sum(result.counters[f"flows_{kind}"] for kind in ("tcp", "udp", "icmp", "other"))
    assert result.counters["entries"] == 2 * flows + 1  # and the end of the input
    assert result.counters["packets"] > 6 * flows


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"outside": []}, "it names no address"),
        ({"outside": ["192.0.2.300"]}, "expected 10.0.0.0/8"),
        ({"outside": ["10.0.0.0/8"]}, "more than 65,536"),
        ({"outside": ["192.0.2.1"], "first_port": 0}, "are no ports"),
    ],
)
def test_parameters_that_cannot_be_are_refused(
    capture: MakeCapture, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises((RunFailed, ValueError), match=message):
        run_nf("nat", capture([datagram("10.0.0.5", 7000)]), **wrong)


def test_tshark_finds_each_checksum_as_it_was(tshark: Tshark, tmp_path: Path) -> None:
    """The whole demo, and no inside address is left in it."""
    output = tmp_path / "translated.pcap"
    chain = tmp_path / "nat.yaml"
    chain.write_text(
        f"input: {DEMO}\noutput: {output}\n"
        f"chain: [{{nf: nat, inside: {HOSTS}, outside: [203.0.113.1, 203.0.113.2]}}]\n"
    )
    microbox = Path(sys.executable).with_name("microbox")
    subprocess.run([microbox, "run", str(chain)], check=True, capture_output=True, cwd=tmp_path)
    for layer in ("ip", "tcp", "udp", "icmp", "icmpv6"):
        status = f"{layer}.checksum.status"
        judged = Counter(tshark(output, layer, status))
        assert judged == Counter(tshark(DEMO, layer, status))
    # The router's own, which says that a packet was too old, is not hidden.
    assert tshark(output, "ip.addr in {192.0.2.2 .. 192.0.2.254}", "ip.src") == []
