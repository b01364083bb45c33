"""flow_log: every flow once, with what tshark counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from microbox.testing import run_nf
from tests.conftest import Tshark


def test_a_connection_has_its_bytes_and_packets(sample: Path, tshark: Tshark) -> None:
    (flow,) = [one for one in run_nf("flow_log", sample).records if one["proto"] == "TCP"]
    segments = tshark(sample, "tcp", "ip.src", "tcp.len")
    sent = {
        address: [int(length) for source, length in segments if source == address]
        for address in (flow["src_ip"], flow["dest_ip"])
    }
    assert flow["pkts_toserver"] == len(sent[flow["src_ip"]])
    assert flow["pkts_toclient"] == len(sent[flow["dest_ip"]])
    assert flow["bytes_toserver"] == sum(sent[flow["src_ip"]])
    assert flow["bytes_toclient"] == sum(sent[flow["dest_ip"]])
    assert flow["reason"] == "fin"


def test_every_flow_has_the_packets_up_to_its_end(demo: Path, tshark: Tshark) -> None:
    ends = {}
    counts: Counter[frozenset[tuple[str, int]]] = Counter()
    for flow in run_nf("flow_log", demo).records:
        if flow["proto"] == "TCP" and ":" not in flow["src_ip"]:
            pair = frozenset(
                ((flow["src_ip"], flow["src_port"]), (flow["dest_ip"], flow["dest_port"]))
            )
            ends[pair] = flow["timestamp"]
            counts[pair] += flow["pkts_toserver"] + flow["pkts_toclient"]
    names = ("ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "frame.time_epoch")
    expected: Counter[frozenset[tuple[str, int]]] = Counter()
    for source, source_port, destination, port, time in tshark(demo, "ip && tcp && !icmp", *names):
        pair = frozenset(((source, int(source_port)), (destination, int(port))))
        expected[pair] += float(time) <= ends[pair]
    assert counts == expected


def test_a_reset_and_a_connection_left_open_say_so(demo: Path) -> None:
    reasons = {one["reason"] for one in run_nf("flow_log", demo).records if one["proto"] == "TCP"}
    assert reasons == {"fin", "rst", "shutdown"}


def test_round_trip_is_that_of_the_links(sample: Path) -> None:
    (flow,) = [one for one in run_nf("flow_log", sample).records if one["proto"] == "TCP"]
    # 3 ms each way east of the capture, 4 ms west of it; a late frame takes some more.
    assert 6_000 <= flow["round_trip_toserver"] <= 25_000
    assert 8_000 <= flow["round_trip_toclient"] <= 25_000


def test_the_summary_names_the_largest_flows(demo: Path) -> None:
    result = run_nf("flow_log", demo, top=3)

    def size(flow: dict[str, Any]) -> int:
        return int(flow["bytes_toserver"] + flow["bytes_toclient"])

    largest = sorted(map(size, result.records), reverse=True)[:3]
    assert [flow["bytes"] for flow in result.summary["top_flows"]] == largest


def test_it_may_name_none(demo: Path) -> None:
    assert run_nf("flow_log", demo, top=0).summary["top_flows"] == []
