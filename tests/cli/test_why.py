"""`microbox why` tells what a chain does for one flow, and it is what the chain does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from microbox.cli.why import why as microbox_why
from microbox.runtime.inspection.flow_name import FlowName, parse_flow
from microbox.testing import merged, tcp, udp
from tests.conftest import Workbench

ODD = """
class Odd(NetworkFunction):
    @on("tcp.data", filter="tcp port 8080")
    def elsewhere(self, event):
        pass
    @on("tcp.data", filter="src port 80")
    def replies(self, event):
        pass
    @on("packet.ip.tcp", filter="tcp[13] & 2 != 0")
    def syn(self, event):
        pass
    @on("tcp.established", initially=False)
    def late(self, event):
        pass
    @on("alert")
    def alerts(self, event):
        pass
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A folder with a chain; a capture of one connection, and one of that beside others."""
    bench = Workbench(tmp_path_factory.mktemp("why"))
    web = (
        tcp("10.0.0.1:1234", "10.0.0.2:80")
        .send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .reply(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        .reply(b"")
        .finish()
    )
    other = tcp("10.0.0.1:5", "10.0.0.2:8080").send(b"!").close()
    query = udp("10.0.0.1:53", "10.0.0.2:53").send(b"?")
    merged(web).write(bench.folder / "one.pcap")
    merged(other, query, web).write(bench.folder / "three.pcap")
    odd = bench.nf("odd", ODD)
    bench.chain("port_scan", "flow_log", "http_log", odd, capture=bench.folder / "three.pcap")
    yield bench
    bench.clean_up()


def why(bench: Workbench, flow: str, *arguments: object) -> dict[str, Any]:
    result = bench.run("why", flow, "chain.yaml", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_it_counts_what_the_chain_hands_over(bench: Workbench) -> None:
    said = why(bench, "1", "-r", "one.pcap")
    assert bench.run("run", "chain.yaml", "-r", "one.pcap", "-q").returncode == 0
    handled = {nf["name"]: nf["handled"] for nf in bench.summary()["nfs"]}
    counted = dict.fromkeys(handled, 0)
    for one in said["subscriptions"]:
        if one["handler"].isidentifier() and one["initially"]:
            counted[one["nf"]] += sum((one["events"] or {}).values())
    assert counted == handled
    assert handled["http_log"] > 0


def test_who_is_woken_by_what_and_who_is_not(bench: Workbench) -> None:
    said = why(bench, "10.0.0.2:80 -> 10.0.0.1:1234")
    assert said["flow"]["name"] == "10.0.0.1:1234 → 10.0.0.2:80 TCP"
    assert said["flow"]["flow_id"] > 1
    by_handler = {f"{one['nf']}.{one['handler']}": one for one in said["subscriptions"]}
    data = by_handler["odd.elsewhere"]
    assert (data["matched"], data["modules"], data["events"]) == ([0, 0], [], {})
    assert data["events_of_all_flows"] == 1
    replies = by_handler["odd.replies"]
    assert replies["matched"] == [0, said["flow"]["pkts_toclient"]]
    assert replies["modules"] == ["tcp.monitor", "tcp.stream"]
    assert replies["events"] == {"flow.tcp.data": 1}
    syn = by_handler["odd.syn"]
    assert (syn["matched"], syn["events"]) == ([1, 1], {"packet.ip.tcp": 2})
    assert by_handler["odd.late"]["modules"] == []
    assert by_handler["odd.alerts"]["events"] is None
    assert by_handler["http_log.request"]["events"] == {"flow.tcp.data.http.request": 1}
    modules = {one["name"]: one["because"] for one in said["modules"]}
    assert list(modules) == ["tcp.monitor", "tcp.stream"]
    assert {one["nf"] for one in modules["tcp.stream"]} == {"http_parser", "odd"}


def test_people_read_it_as_sentences(bench: Workbench) -> None:
    text = bench.run("why", "udp 10.0.0.1:53 -> 10.0.0.2:53", "chain.yaml").stdout
    assert "10.0.0.1:53 → 10.0.0.2:53 UDP, flow 2 of " in text
    assert "1 → 0 ← packets" in text
    assert "the filter takes none of its packets: tcp port 8080" in text
    assert "http_parser  since http_log subscribes to http.request" in text
    assert "1 packets through udp" in text


def test_a_flow_that_is_not_there_is_said(
    tmp_path: Path, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = Workbench(tmp_path).chain("flow_log", capture=sample)
    assert microbox_why("10.0.0.9:1 -> 10.0.0.2:80", chain) == 2
    assert "sample.pcap has no flow '10.0.0.9:1 -> 10.0.0.2:80'" in capsys.readouterr().err


A = bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
B = bytes(15) + b"\x01"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("17", FlowName(number=17)),
        ("10.0.0.1:5 -> [::1]:6", FlowName(ends=((A, 5), (B, 6)))),
        ("tcp 10.0.0.1:5 <-> [::1]:6", FlowName(protocol=6, ends=((A, 5), (B, 6)))),
        ("10.0.0.1 → ::1 ICMP", FlowName(protocol=1, ends=((A, 0), (B, 0)))),
    ],
)
def test_flows_are_named_as_logs_and_people_do(written: str, meant: FlowName) -> None:
    assert parse_flow(written) == meant


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("0", "names no flow"),
        ("99999999999999999999", "names no flow"),
        ("10.0.0.1:5", "names no flow"),
        ("10.0.0.1:5 -> 10.0.0.2:6 -> 10.0.0.3:7", "names no flow"),
        ("quic 10.0.0.1:5 -> 10.0.0.2:6", "'quic' is no protocol of flows"),
        ("10.0.0.x:5 -> 10.0.0.2:6", "'10.0.0.x' is no address"),
        ("10.0.0.1:99999 -> 10.0.0.2:6", "99999 is no port"),
        ("10.0.0.1: -> 10.0.0.2:6", "'10.0.0.1:' is no address"),
        ("[::1 -> 10.0.0.2:6", "is no end of a flow"),
    ],
)
def test_what_names_no_flow_is_said(written: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        parse_flow(written)


def test_a_name_means_a_flow_whoever_began_it() -> None:
    name = parse_flow("tcp 10.0.0.1:5 -> [::1]:6")
    assert name.means(1, 6, ((B, 6), (A, 5)))
    assert not name.means(1, 17, ((B, 6), (A, 5)))
    assert not name.means(1, 6, ((B, 5), (A, 6)))
