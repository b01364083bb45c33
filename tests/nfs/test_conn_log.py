"""conn_log: what Zeek itself wrote of the same captures, and the letters and states by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from microbox.nfs.conn_log import FIELDS, zeek_text

from microbox.testing import Result, TcpFlow, run_nf, tcp, udp
from microbox.testing.packets import ACK, FIN, RST, SYN
from tests.conftest import ROOT, Tshark, Workbench

CORPUS = Path(os.environ.get("MICROBOX_CORPUS", ROOT.parent / "shared" / "corpus")) / "dev"
CLIENT, SERVER = "10.0.0.1:1234", "192.0.2.1:80"

COLUMNS = (
    "id.orig_p id.resp_p proto duration orig_bytes resp_bytes conn_state missed_bytes history"
    " orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes"
).split()
# Of Zeek's own tests of these captures (testing/btest/Baseline): these columns of its conn.log.
ZEEK = {
    "zeek__tcp__missing-syn.pcap": {
        "56730 80 tcp 1.550793 98 9417 SF 0 ^hADdFaf 11 670 10 9945",
    },
    "zeek__conn-size.pcap": {
        "56729 12345 tcp - - - S0 0 S 1 60 0 0",
        "49370 427 udp 5.921003 147 0 S0 0 D 3 231 0 0",
        "53063 80 tcp 0.815763 377 445 SF 0 ShADadfF 6 697 5 713",
        "49370 427 udp 9.000191 196 0 S0 0 D 4 308 0 0",
        "3 3 icmp 0.000650 56 0 OTH 0 - 2 112 0 0",
    },
    "zeek__ftp__ipv6.pcap": {
        "49186 57086 tcp 0.219721 0 342 SF 0 ShAdfFa 5 372 4 642",
        "49187 57087 tcp 0.217501 0 43 SF 0 ShAdfFa 5 372 4 343",
        "49188 57088 tcp 0.217941 0 77 SF 0 ShAdfFa 5 372 4 377",
        "55785 49189 tcp 0.109813 77 0 SF 0 ShADFaf 5 449 4 300",
        "49185 21 tcp 26.658219 310 3448 SF 0 ShAdDfFa 57 4426 34 5908",
        "55647 49190 tcp 0.109181 342 0 SF 0 ShADFaf 5 714 4 300",
    },
    "zeek__http__connect-with-header.pcap": {
        "52522 80 tcp 0.691241 3644 55499 S1 0 ShAaDd 29 5744 29 57599",
    },
    "zeek__q-in-q.pcap": {
        "47808 47808 udp 0.000100 36 0 S0 0 D 2 92 0 0",
        "9875 9875 udp 0.000139 552 0 S0 0 D 2 608 0 0",
    },
    # What travels in the tunnel: the tunnel itself is no connection here.
    "zeek__tunnels__vxlan.pcap": {"8 0 icmp 3.004616 224 224 OTH 0 - 4 336 4 336"},
}


def columns(result: Result, names: list[str]) -> list[list[str]]:
    """Of the connections, as Zeek writes them."""
    lines = [line.split("\t") for line in zeek_text(result.records) if line[0] != "#"]
    return [[line[list(FIELDS).index(name)] for name in names] for line in lines]


@pytest.mark.parametrize("capture", ZEEK)
def test_it_writes_what_zeek_wrote(capture: str) -> None:
    if not (CORPUS / capture).is_file():
        pytest.skip(f"no corpus in {CORPUS}: see MICROBOX_CORPUS")
    found = columns(run_nf("conn_log", CORPUS / capture), COLUMNS)
    assert {" ".join(line) for line in found} == ZEEK[capture]


def opening(*flags: tuple[str, int]) -> TcpFlow:
    """A connection of bare segments, each with its flags, from the end that is named."""
    flow = tcp(CLIENT, SERVER, handshake=False)
    for end, bits in flags:
        sender = flow.originator if end == "originator" else flow.responder
        # Behind its SYN, which takes a sequence number.
        flow.put(flow.segment(sender, bits, sequence=sender.next + (not bits & SYN)))
    return flow


@pytest.mark.parametrize(
    ("flow", "state", "history"),
    [
        (tcp(CLIENT, SERVER).send(b"GET /").reply(b"200").close(), "SF", "ShADadFf"),
        (tcp(CLIENT, SERVER).send(b"GET /").reply(b"200"), "S1", "ShADad"),
        (tcp(CLIENT, SERVER).send(b"GET /").finish(), "S2", "ShADaF"),
        (tcp(CLIENT, SERVER).send(b"GET /").finish(by="responder"), "S3", "ShADaf"),
        (tcp(CLIENT, SERVER).send(b"GET /").reset(), "RSTO", "ShADaR"),
        (tcp(CLIENT, SERVER).send(b"GET /").reset(by="responder"), "RSTR", "ShADar"),
        (tcp(CLIENT, SERVER, handshake=False).send(b"GET /").reply(b"200"), "OTH", "DadA"),
        (opening(("originator", SYN)), "S0", "S"),
        (opening(("originator", SYN), ("responder", RST | ACK)), "REJ", "Sr"),
        (opening(("originator", SYN), ("originator", RST)), "RSTOS0", "SR"),
        (opening(("originator", SYN), ("originator", FIN | ACK)), "SH", "SF"),
        (opening(("responder", SYN | ACK), ("responder", RST)), "RSTRH", "^hr"),
        (opening(("responder", SYN | ACK), ("responder", FIN | ACK)), "SHR", "^hf"),
    ],
)
def test_state_and_history_say_how_far_it_came(flow: TcpFlow, state: str, history: str) -> None:
    (line,) = run_nf("conn_log", flow).records
    assert (line["conn_state"], line["history"]) == (state, history)


def test_bytes_that_never_come_are_missed() -> None:
    flow = tcp(CLIENT, SERVER).send(b"abcdef", segments=[1, 3], lose=[1]).close()
    (line,) = run_nf("conn_log", flow).records
    assert (line["orig_bytes"], line["missed_bytes"]) == (6, 3)
    assert "G" in line["history"]


def test_bytes_are_counted_once_however_often_they_come() -> None:
    flow = tcp(CLIENT, SERVER).send(b"abcdef", mss=2, repeat=[0, 1]).close()
    (line,) = run_nf("conn_log", flow).records
    assert (line["orig_bytes"], line["orig_pkts"]) == (6, 9)
    assert line["history"].count("T") == 1


def test_an_icmp_error_is_no_packet_of_the_connection_that_it_is_about() -> None:
    (line,) = run_nf("conn_log", udp("10.0.0.1:5000", SERVER).send(b"x").unreachable()).records
    assert (line["proto"], line["orig_pkts"], line["resp_pkts"]) == ("udp", 1, 0)


def test_hosts_of_the_networks_given_are_local() -> None:
    flow = tcp(CLIENT, SERVER).close()
    (line,) = run_nf("conn_log", flow, local=["192.0.2.0/24"]).records
    assert (line["local_orig"], line["local_resp"]) == (False, True)


def test_community_ids_are_those_that_tshark_has(demo: Path, tshark: Tshark) -> None:
    ours = {line["community_id"] for line in run_nf("conn_log", demo).records}
    theirs = {
        name for (name,) in tshark(demo, "(tcp || udp) && !icmp && !icmpv6", "communityid") if name
    }
    assert theirs <= ours
    assert len(theirs) > 500


def test_the_services_are_what_the_parsers_found(sample: Path) -> None:
    lines = run_nf("conn_log", sample).records
    assert {line["id.resp_p"]: line["service"] for line in lines} == {53: "dns", 80: "http"}


def test_zeeks_text_is_made_of_a_runs_log(workbench: Workbench) -> None:
    workbench.run("run", workbench.chain("conn_log"), "-q")
    log = workbench.folder / "microbox-logs" / "conn_log.jsonl"
    command = [sys.executable, "-P", "-m", "microbox.nfs.conn_log", str(log)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = text.splitlines()
    header = dict(line.split("\t", 1) for line in lines if line.startswith("#") and "\t" in line)
    assert lines[0] == "#separator \\x09"
    assert header["#path"] == "conn"
    assert header["#fields"].split("\t")[:3] == ["ts", "uid", "id.orig_h"]
    assert len(header["#types"].split("\t")) == len(FIELDS)
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert [len(row) for row in rows] == [len(FIELDS)] * len(workbench.log("conn_log"))
    assert {row[6] for row in rows} == {"tcp", "udp"}


def as_zeek(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "microbox.nfs.conn_log", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_zeeks_text_of_what_is_no_log_is_an_error_in_words(tmp_path: Path) -> None:
    assert as_zeek().stderr.startswith("usage: ")
    (tmp_path / "flow_log.jsonl").write_text('{"flow_id": 1}\n')
    for name, wrong in (
        ("none", "No such file"),
        ("flow_log.jsonl", "is none"),
        (".", "directory"),
    ):
        result = as_zeek(str(tmp_path / name))
        assert result.returncode == 2
        assert wrong in result.stderr
        assert "Traceback" not in result.stderr


def test_a_log_without_connections_has_zeeks_header() -> None:
    assert [line.split()[0] for line in zeek_text([])][-3:] == ["#fields", "#types", "#close"]
