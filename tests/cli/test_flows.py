"""`microbox flows` shows the flows of a chain that runs, `microbox why` what is done for one of
them, `microbox trace` its packets on their way, and the chain does not notice."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal

from microbox.cli.flows import Shown, flows
from microbox.cli.trace import show, trace
from microbox.cli.why import why
from microbox.testing import Traffic, merged, tcp, udp
from tests.conftest import Workbench

BURST = 6000
"""Flows: more than the chain's log holds entries, so that who is slow loses some."""

SLOTS = 4096


HALF = """
class Half(NetworkFunction):
    @on("tcp.data", switch=True)
    def requests(self, event):
        event.flow.unsubscribe("tcp.data", side="responder")
    @on("tcp.data", filter="tcp port 443")
    def tls(self, event):
        pass
    @on("packet.ip.tcp", filter="tcp[13] & 2 != 0")
    def syn(self, event):
        pass
"""


SLOW_MS = 5
"""Much longer than it takes to see it."""

SLOW = f"""
class Slow(NetworkFunction):
    inline = True
    @on("udp.datagram", filter="port 4000")
    def look(self, event):
        time.sleep({SLOW_MS} / 1000)
"""

BEHIND = """
class Behind(NetworkFunction):
    @on("udp.datagram", filter="port 4000")
    def look(self, event):
        pass
"""


def silent() -> Traffic:
    """Two connections and many datagrams, all at once."""
    small = tcp("10.0.0.1:1000", "10.0.0.2:80").send(b"GET / HTTP/1.1\r\n\r\n").reply(b"?" * 100)
    large = tcp("[2001:db8::1]:2000", "[2001:db8::2]:443").send(b"!" * 1000)
    large = large.finish(by="originator")
    burst = [udp(f"10.1.{i >> 8}.{i & 255}:5000").send(b"?") for i in range(BURST)]
    return merged(small, large, *burst)


def ticking() -> Traffic:
    """A datagram each tenth of a second for three minutes, while it is looked at, and the others
    are silent for more than a second."""
    ticks = udp("10.0.0.3:3000", "10.0.0.4:4000")
    for _ in range(1800):
        ticks.send(b"tick").wait(0.1)
    return Traffic(ticks).later(1.2)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    bench = Workbench(tmp_path_factory.mktemp("flows"))
    first = silent()
    capture = merged(first, ticking()).write(bench.folder / "traffic.pcap")
    options = {"log": {"slots": SLOTS}, "stack": {"command_delay": 8}}
    nfs = {"half": HALF, "slow": SLOW, "behind": BEHIND}
    files = [bench.nf(name, code) for name, code in nfs.items()]
    chain = bench.chain("flow_log", *files, capture=capture, **options)
    run = bench.start("run", chain, "--pace", "1")
    bench.until(lambda: run.poll() is not None or _packets(bench) > len(first))
    yield bench
    bench.run("stop")
    result = bench.end(run)
    summary = bench.summary()
    bench.clean_up()
    assert result.returncode == 143, result.stderr
    for balance in summary["balances"]:
        assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])


def _packets(bench: Workbench) -> int:
    rows = json.loads(bench.run("ps", "--json").stdout)
    return sum(int(row["packets"]) for row in rows)


def shown(bench: Workbench, *arguments: str) -> str:
    result = bench.run("flows", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_each_flow_is_shown_with_what_both_sides_sent(bench: Workbench) -> None:
    document = json.loads(shown(bench, "--filter", "tcp", "--sort", "src_port", "--json"))
    rows: list[dict[str, Any]] = document.pop("flows")
    assert document == {"run": document["run"], "present": 2}
    for row in rows:
        assert 1 <= row.pop("idle") <= row.pop("age")
    assert rows == [
        {
            "flow_id": rows[0]["flow_id"],
            "proto": "TCP",
            "src_ip": "10.0.0.1",
            "src_port": 1000,
            "dest_ip": "10.0.0.2",
            "dest_port": 80,
            "vlan": 0,
            "state_originator": "established",
            "state_responder": "established",
            "pkts_toserver": 4,
            "pkts_toclient": 3,
            "bytes_toserver": 18,
            "bytes_toclient": 100,
            "worker": "worker",
            "state": "established",
        },
        rows[1],
    ]
    assert (rows[1]["src_ip"], rows[1]["bytes_toserver"]) == ("2001:db8::1", 1000)
    assert rows[1]["state"] == "fin_wait_2 / close_wait"


def test_what_comes_too_fast_is_counted_unless_the_chain_waits(bench: Workbench) -> None:
    result = bench.run("flows", "--json", "--sort", "age")
    document = json.loads(result.stdout)
    missed = document["present"] - len(document["flows"])
    assert document["present"] == BURST + 3
    assert (f"{missed:,} more flows" in result.stderr) == (missed > 0)
    ages = [row["age"] for row in document["flows"]]
    assert ages == sorted(ages, reverse=True)
    assert len(shown(bench, "--all", "--csv").splitlines()) == 1 + BURST + 3


def test_in_a_pipe_a_flow_is_a_line(bench: Workbench) -> None:
    lines = shown(bench, "--filter", "tcp").splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["TCP", "[2001:db8::1]:2000", "[2001:db8::2]:443"],
        ["TCP", "10.0.0.1:1000", "10.0.0.2:80"],
    ]
    assert lines[0].split()[0] == "proto"


def test_a_narrow_terminal_breaks_no_address(bench: Workbench) -> None:
    terminal = Terminal(bench, "flows", "--filter", "tcp", columns=40)
    try:
        terminal.wait_for("10.0.0.1:1000")
    finally:
        terminal.close()


def test_in_a_pipe_a_run_and_the_confinement_of_each_nf_are_a_line(bench: Workbench) -> None:
    lines = bench.run("ps").stdout.splitlines()
    assert lines[1].rstrip().endswith("flow_log, half, slow, behind")
    begin = next(n for n, line in enumerate(lines) if "confinement" in line)
    assert [line.split()[0] for line in lines[begin + 1 :]] == [
        "flow_log",
        "half",
        "slow",
        "behind",
    ]


def test_who_has_read_enough_of_ps_is_no_failure(bench: Workbench) -> None:
    result = bench.run("ps", prefix=["bash", "-o", "pipefail", "-c", '"$@" | head -n 0', "bash"])
    assert (result.returncode, result.stderr) == (0, "")


def test_the_first_are_shown_as_csv(bench: Workbench) -> None:
    text = shown(
        bench, "chain", "--filter", "host 10.0.0.3 or tcp", "--sort", "idle", "-n2", "--csv"
    )
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["proto"] for row in rows] == ["TCP", "TCP"]
    assert list(rows[0])[:3] == ["flow_id", "proto", "src_ip"]


def test_no_trace_of_it_stays(bench: Workbench) -> None:
    (run,) = json.loads(bench.run("ps", "--json").stdout)
    assert [nf["name"] for nf in run["nfs"]] == ["flow_log", "half", "slow", "behind"]


def test_of_a_flow_it_is_said_who_reads_what(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(bench.folder))
    assert why("10.0.0.2:80 -> 10.0.0.1:1000", json=True) == 0
    (flow,) = json.loads(capsys.readouterr().out)["flows"]
    assert flow["name"] == "10.0.0.1:1000 → 10.0.0.2:80 TCP"
    assert (flow["pkts_toserver"], flow["bytes_toclient"]) == (4, 100)
    assert flow["streams"] == [True, False]
    assert [one["name"] for one in flow["modules"]] == ["tcp.monitor", "tcp.stream"]
    by_handler = {f"{one['nf']}.{one['handler']}": one for one in flow["subscriptions"]}
    told = {name: (one["gets"], one["off"]) for name, one in by_handler.items()}
    assert told["half.requests"] == ([True, False], [False, True])
    assert told["half.tls"] == ([False, False], [False, False])
    assert told["half.syn"] == (None, [False, False])
    assert told["flow_log.tcp"] == ([True, True], [False, False])
    assert by_handler["half.requests"]["modules"] == ["tcp.monitor", "tcp.stream"]
    assert by_handler["half.tls"]["modules"] == []

    assert why(str(flow["flow_id"])) == 0
    text = capsys.readouterr().out
    assert "tcp.stream of what the originator sends" in text
    assert "the filter takes none of its packets: tcp port 443" in text

    assert why("10.0.0.9:1 -> 10.0.0.2:80") == 1
    assert "there is no flow '10.0.0.9:1 -> 10.0.0.2:80'" in capsys.readouterr().err


def test_packets_are_followed_through_the_nfs(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(bench.folder))
    assert trace("10.0.0.3:3000 -> 10.0.0.4:4000", count=1, timeout=30, json=True) == 0
    document = json.loads(capsys.readouterr().out)
    (packet,) = document["packets"]
    assert packet["packet"] > document["flow_id"] > BURST
    assert (packet["from"], packet["events"]) == ("originator", 1)
    slow, behind = packet["nfs"]
    assert (slow["nf"], slow["waited"]) == ("slow", 0)
    assert slow["took"] > SLOW_MS * 1000 - 200  # it came at most 100 µs before it was seen
    assert (behind["nf"], behind["waited"]) == ("behind", slow["took"])
    assert behind["took"] is not None

    assert trace("10.0.0.9:1 -> 10.0.0.2:80") == 1
    assert "there is no flow '10.0.0.9:1 -> 10.0.0.2:80'" in capsys.readouterr().err


def test_packets_of_all_flows_that_a_filter_takes_are_followed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    assert trace("udp port 4000", count=2, timeout=60, json=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["filter"] == "udp port 4000"
    assert [one["flow"] for one in document["packets"]] == ["10.0.0.3:3000 → 10.0.0.4:4000 UDP"] * 2
    first, second = document["packets"]
    assert first["flow_id"] == second["flow_id"] > BURST
    assert first["packet"] < second["packet"]
    assert [one["nf"] for one in first["nfs"]] == ["slow", "behind"]

    assert trace("udp port 4001", count=1, timeout=1) == 0
    assert "followed 0 of 1 packets in 1 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("tcp prot 80", "as a filter it is none: can't parse"),
        ("tcp[13] = 2", "as a filter it looks at more of a packet than its addresses and ports"),
        ("10.0.0.1:5", "names no flow"),
        ("10.0.0.1:5 -> 10.0.0.2:70000", "expected such as '10.0.0.1:1234 -> 10.0.0.2:80'"),
    ],
)
def test_what_is_neither_a_flow_nor_a_filter_of_flows_is_said(
    written: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trace(written) == 2
    assert words in capsys.readouterr().err


def test_packets_of_several_flows_are_shown_with_their_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = [{"nf": nf, "waited": 0.0, "took": 5.0, "exact": True} for nf in ("one", "two")]
    packet = {"flow": "10.0.0.1:1 → 10.0.0.2:2 UDP", "packet": 7, "from": "originator"}
    show([{**packet, "events": 1, "stack": None, "nfs": times}])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["flow", "packet", "events", "stage", "waited", "took"],
        ["10.0.0.1:1", "→", "10.0.0.2:2", "UDP", "7", "→", "1", "stack", "not", "known"],
        ["one", "5", "µs"],
        ["two", "5", "µs"],
    ]


def test_packets_are_shown_with_the_times_of_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [{"part": "decode", "took": 0.051}, {"part": "tcp.stream", "took": 11.2}]
    stack = {"waited": 41.3, "took": 12.25, "parts": parts}
    times = {"nf": "slow", "waited": 0.0, "took": 5200.0, "exact": True}
    behind = {"nf": "behind", "waited": 5200.0, "took": 91.0, "exact": False}
    batches = {"nf": "batches", "waited": 0.0, "took": None, "exact": False}
    packets = [
        {
            "packet": 1234,
            "from": "responder",
            "events": 2,
            "stack": stack,
            "nfs": [times, behind, batches],
        },
        {"packet": 1236, "from": "originator", "events": 1, "stack": None, "nfs": []},
    ]
    show(packets)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["packet", "events", "stage", "waited", "took"],
        ["1,234", "←", "2", "stack", "41", "µs", "12", "µs"],
        ["decode", "0.05", "µs"],
        ["tcp.stream", "11", "µs"],
        ["slow", "5.20", "ms"],
        ["behind", "5.20", "ms", "~91", "µs"],
        ["batches", "not", "yet"],
        ["1,236", "→", "1", "stack", "not", "known"],
        ["no", "NF", "reads", "it"],
    ]


@pytest.mark.parametrize(
    ("filter", "options", "error"),
    [
        ("tcp prot 80", Shown(), "--filter: 'tcp prot 80': can't parse"),
        ("tcp[13] = 2", Shown(), "looks at more of a packet than its addresses and ports"),
        ("", Shown(json=True, csv=True), "--json and --csv: expected one of them"),
        ("", Shown(count=-1), "-n: -1 is no count; expected 0 or more"),
    ],
)
def test_what_cannot_be_shown_is_said(
    filter: str,
    options: Shown,
    error: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert flows(filter=filter, shown=options) == 2
    assert error in capsys.readouterr().err


def test_without_a_run_there_is_nothing_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert flows() == 2
    assert "there is no run; nothing of this user runs" in capsys.readouterr().err
