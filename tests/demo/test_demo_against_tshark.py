"""The demo's numbers are what tshark says of the same capture: the real chain, by the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Tshark

ROOT = Path(__file__).parents[2]
MICROBOX = Path(sys.executable).with_name("microbox")


@dataclass(frozen=True)
class Demo:
    """What a run left: its report, and its logs by name."""

    report: dict[str, Any]
    logs: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    directory = tmp_path_factory.mktemp("demo") / "logs"
    command = [str(MICROBOX), "run", "configs/demo.yaml", "--json", "-w", str(directory)]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    logs = {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()]
        for path in directory.glob("*.jsonl")
    }
    return Demo(json.loads(output), logs)


def test_packets(run: Demo, demo: Path, tshark: Tshark) -> None:
    lengths = tshark(demo, "frame", "frame.cap_len")
    assert run.report["input"]["packets"] == len(lengths)
    assert run.report["input"]["bytes"] == sum(int(length) for (length,) in lengths)


def test_tcp_flows(run: Demo, demo: Path, tshark: Tshark) -> None:
    streams = set(tshark(demo, "tcp && !icmp", "tcp.stream"))
    assert run.report["input"]["flows"]["tcp"] == len(streams)
    assert sum(1 for flow in run.logs["flow_log"] if flow["proto"] == "TCP") == len(streams)


def test_udp_flows(run: Demo, demo: Path, tshark: Tshark) -> None:
    # Not tshark's numbers of streams: it counts one that only an ICMP error quotes.
    names = ("src", "dst")
    datagrams = [
        *tshark(
            demo, "ip && udp && !icmp", *(f"ip.{n}" for n in names), "udp.srcport", "udp.dstport"
        ),
        *tshark(demo, "ipv6 && udp", *(f"ipv6.{n}" for n in names), "udp.srcport", "udp.dstport"),
    ]
    flows = {frozenset(((one[0], one[2]), (one[1], one[3]))) for one in datagrams}
    assert run.report["input"]["flows"]["udp"] == len(flows)
    assert sum(1 for flow in run.logs["flow_log"] if flow["proto"] == "UDP") == len(flows)


def test_http_requests(run: Demo, demo: Path, tshark: Tshark) -> None:
    theirs = tshark(demo, "http.request", "http.request.method", "http.host", "http.request.uri")
    ours = [
        (line["http_method"], line["hostname"], line["url"])
        for line in run.logs["http_log"]
        if "http_method" in line
    ]
    assert Counter(ours) == Counter(theirs)
    assert run.report["events"]["flow.tcp.data.http.request"] == len(theirs)


def test_http_statuses(run: Demo, demo: Path, tshark: Tshark) -> None:
    theirs = Counter(int(code) for (code,) in tshark(demo, "http.response", "http.response.code"))
    ours = Counter(line["status"] for line in run.logs["http_log"] if line.get("complete", False))
    # Interim responses (100) are no line of their own. In the pipeline of GET, HEAD and GET, tshark
    # gives the answer to HEAD the body that a GET would get, and so swallows the third response.
    assert Counter({code: n for code, n in theirs.items() if code >= 200}) + Counter([200]) == ours
    assert (
        run.report["nfs"][names(run).index("http_log")]["summary"]["statuses"]["100"] == theirs[100]
    )


def test_dns_questions(run: Demo, demo: Path, tshark: Tshark) -> None:
    theirs = tshark(demo, "dns.flags.response == 0 && !icmp", "dns.qry.name", "dns.qry.type")
    kinds = {
        "A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "ANY": 255,
    }  # fmt: skip
    ours = [
        (line["rrname"], str(kinds.get(line["rrtype"], 0)))
        for line in run.logs["dns_log"]
        if line["type"] == "query"
    ]
    assert Counter(ours) == Counter((name, kind or "0") for name, kind in theirs)
    assert run.report["events"]["flow.dns.query"] == len(theirs)


def test_dns_answers(run: Demo, demo: Path, tshark: Tshark) -> None:
    theirs = tshark(demo, "dns.flags.response == 1 && !icmp", "dns.id")
    assert run.report["events"]["flow.dns.response"] == len(theirs)


def test_tls_server_names(run: Demo, demo: Path, tshark: Tshark) -> None:
    theirs = tshark(
        demo,
        "tls.handshake.type == 1",
        "tls.handshake.type",
        "tls.handshake.extensions_server_name",
    )
    assert Counter(line["sni"] for line in run.logs["tls_log"]) == Counter(
        name for _, name in theirs
    )


def test_it_has_at_least_five_nfs_that_all_finished(run: Demo) -> None:
    wanted = {"flow_log", "http_log", "dns_log", "tls_log", "ids", "port_scan", "syn_flood"}
    assert wanted <= set(names(run))
    assert {nf["outcome"] for nf in run.report["nfs"]} == {"finished"}


def test_nothing_is_lost_and_it_adds_up(run: Demo) -> None:
    assert run.report["lost"] == 0
    assert run.report["problems"] == []
    assert run.report["warnings"] == []


def test_the_attacks_are_reported(run: Demo) -> None:
    found = {line["signature"] for line in run.logs["alert_log"]}
    assert {"port_scan", "syn_flood", "path_traversal", "sqlmap", "antivirus_test"} <= found


def names(run: Demo) -> list[str]:
    return [nf["name"] for nf in run.report["nfs"]]
