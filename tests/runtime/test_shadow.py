"""NFs in shadow: what they would do is counted, nobody notices them, and they can be promoted while
packets flow."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from microbox.runtime.control.control_socket import ControlError, ask
from tests.demo.test_firewall_end_to_end import records

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Workbench

# All kinds of verdicts, on packets, datagrams and bytes of streams.
TRIAL = """
from microbox import DROP, DROP_FLOW, PASS_FLOW, RESET
class Trial(NetworkFunction):
    inline = True
    publishes = ["alert"]
    @on("tcp.start")
    def refuse(self, event):
        if event.flow.id % 7 == 1:
            self.alert(event, "refused")
            return RESET
    @on("tcp.data")
    def judge(self, event):
        if event.flow.id % 7 == 3:
            return DROP
        return PASS_FLOW if event.flow.id % 7 == 5 else None
    @on("udp.datagram")
    def thin_out(self, event):
        return DROP if event.packet % 5 == 0 else None
    @on("icmp.start")
    def stop(self, event):
        return DROP_FLOW if event.flow.id % 2 else None
"""
LOGS = ("flow_log", "http_log", "dns_log", "tls_log")


def run(bench: Workbench, capture: Path, *entries: Any, name: str = "") -> dict[str, Any]:
    """The reports of its NFs by name. Output and logs are `name`'s."""
    chain = bench.chain(*entries, capture=capture, output=str(bench.folder / f"{name}.pcap"))
    result = bench.run("run", chain, "-w", f"logs-{name}", "--overwrite")
    assert result.returncode == 0, result.stderr
    return {nf["name"]: nf for nf in bench.summary(f"logs-{name}")["nfs"]}


def trial(bench: Workbench, **keys: Any) -> dict[str, Any]:
    return {"nf": bench.nf("trial", TRIAL), **keys}


def test_what_it_counts_is_what_it_does_when_it_is_real(workbench: Workbench, demo: Path) -> None:
    entry = trial(workbench)
    real = run(workbench, demo, entry, name="real")["trial"]
    gate = real["gate"]
    for instances in (1, 3):
        in_shadow = {**entry, "shadow": True, "instances": instances}
        shadow = run(workbench, demo, in_shadow, name="shadow")["trial"]
        would = shadow["shadow"]
        assert would["packets"] == gate["packets"]
        assert would["packets"].keys() == {"verdict.drop", "verdict.drop_flow", "verdict.reset"}
        assert would["flows_dropped"] == gate["flows_dropped"] > 0
        assert would["flows_reset"] == gate["flows_reset"] > 0
        assert would["dropped_already"] == 0
        assert (real["shadow"], shadow["gate"]) == (None, None)
        seen = ("matched", "handled", "verdicts", "alerts")
        assert [shadow[one] for one in seen] == [real[one] for one in seen]


def test_nobody_else_notices_it(workbench: Workbench, demo: Path) -> None:
    alone = run(workbench, demo, "port_scan", *LOGS, name="alone")
    entry = trial(workbench, shadow=True)
    beside = run(workbench, demo, entry, "port_scan", *LOGS, name="beside")
    assert beside["trial"]["shadow"]["dropped_already"] == 0
    one, other = (workbench.folder / f"{name}.pcap" for name in ("alone", "beside"))
    assert one.read_bytes() == other.read_bytes()
    for log in LOGS:
        lines = [
            (workbench.folder / f"logs-{name}" / f"{log}.jsonl") for name in ("alone", "beside")
        ]
        assert lines[0].read_bytes() == lines[1].read_bytes()
        assert alone[log]["summary"] == beside[log]["summary"]
    # Its alerts are told, with a mark.
    assert alone["alert_log"]["summary"]["alerts"] > 0
    marked = [line for line in workbench.log("alert_log", "logs-beside") if "in_shadow" in line]
    others = [line for line in workbench.log("alert_log", "logs-beside") if line not in marked]
    assert others == workbench.log("alert_log", "logs-alone")
    assert {line["nf"] for line in marked} == {"trial"}
    assert beside["alert_log"]["summary"].pop("in_shadow") == len(marked)
    assert beside["alert_log"]["summary"] == alone["alert_log"]["summary"]


def test_what_others_drop_too_is_counted_apart(workbench: Workbench, demo: Path) -> None:
    rules = {"nf": "firewall", "deny": ["src net 203.0.113.0/24"]}
    strict = {"nf": "firewall", "name": "strict", "shadow": True}
    strict["deny"] = ["src net 203.0.113.0/24", "tcp dst port 23"]
    nfs = run(workbench, demo, strict, rules, "flow_log", name="both")
    would = nfs["strict"]["shadow"]
    really = sum(nfs["firewall"]["gate"]["packets"].values())
    assert would["dropped_already"] == really > 0
    assert sum(would["packets"].values()) > really
    summary = workbench.run("run", "chain.yaml", "-w", "again", "--overwrite").stdout
    count, flows = sum(would["packets"].values()), would["flows"]
    assert (
        f"strict would have dropped {count:,} packets of {flows:,} flows (verdict.drop_flow "
        f"{count:,}); {really:,} of these packets were dropped anyway\n"
    ) in summary


EDITS = """
class Edits(NetworkFunction):
    @on("packet.ip.udp")
    def mark(self, event):
        if event.packet % 3 == 0:
            event.edit(ip_dscp=46)
    @on("tcp.start")
    def translate(self, event):
        event.flow.rewrite(destination_port=8080)
"""


def test_edits_and_rewrites_are_counted_and_not_done(workbench: Workbench, demo: Path) -> None:
    entry = {"nf": workbench.nf("edits", EDITS)}
    real = run(workbench, demo, entry, name="real")["edits"]
    shadow = run(workbench, demo, {**entry, "shadow": True}, name="shadow")["edits"]["shadow"]
    assert shadow["edits"] > 0
    assert shadow["rewrites"] > 0
    assert (real["shadow"], real["gate"]["packets"]) == (None, {})
    frames = [frame for _, _, frame in records(demo)]
    assert [frame for _, _, frame in records(workbench.folder / "shadow.pcap")] == frames
    assert [frame for _, _, frame in records(workbench.folder / "real.pcap")] != frames


# --- promotion ---

THIN_OUT = """
from microbox import DROP
class ThinOut(NetworkFunction):
    inline = True
    @on("packet")
    def judge(self, event):
        return DROP if event.packet % 5 == 0 else None
"""
FLOWS = """
from microbox import DROP_FLOW
class Flows(NetworkFunction):
    inline = True
    @on("tcp.start", "udp.start", "icmp.start")
    def judge(self, event):
        return DROP_FLOW if event.flow.id % 2 else None
"""


def start_slowly(bench: Workbench, demo: Path, entry: Any) -> subprocess.Popen[str]:
    """Runs at a quarter of the capture's pace, until some packets have been read."""
    out = str(bench.folder / "out.pcap")
    settings = {"command_delay": 64}
    chain = bench.chain(entry, "flow_log", capture=demo, output=out, stack=settings)
    process = bench.start("run", chain, "--pace", "0.25")
    bench.until(lambda: [*sockets(bench)] and ask_run(bench, "status")["packets"] > 500)
    return process


def sockets(bench: Workbench) -> Iterator[Path]:
    return (bench.folder / "microbox").glob("*.socket")


def ask_run(bench: Workbench, verb: str, nf: str = "") -> dict[str, Any]:
    return ask(next(sockets(bench)), verb, nf)


def finish(bench: Workbench, process: subprocess.Popen[str]) -> dict[str, Any]:
    """Stops the run some packets later. The promoted NF's report."""
    packets = ask_run(bench, "status")["packets"] + 100
    bench.until(lambda: ask_run(bench, "status")["packets"] > packets)
    ask_run(bench, "stop")
    bench.end(process)
    return next(nf for nf in bench.summary()["nfs"] if nf["name"] == "trial")


def test_it_judges_from_one_event_on(workbench: Workbench, demo: Path) -> None:
    entry = {"nf": workbench.nf("trial", THIN_OUT), "shadow": True}
    process = start_slowly(workbench, demo, entry)
    assert "trial (in shadow)" in workbench.run("ps").stdout
    result = workbench.run("promote", "trial")
    assert (result.returncode, result.stdout.split(":")[0]) == (0, "trial is promoted")
    assert "trial (in shadow)" not in workbench.run("ps").stdout
    nf = finish(workbench, process)

    frames = list(records(demo))[: workbench.summary()["input"]["packets"]]
    before = sum(nf["shadow"]["packets"].values())  # of its packets: those up to 5 * before
    assert 0 < before < len(frames) // 5
    kept = [one for number, one in enumerate(frames, 1) if number < 5 * before + 5 or number % 5]
    assert list(records(workbench.folder / "out.pcap")) == kept
    assert sum(nf["gate"]["packets"].values()) == len(frames) // 5 - before
    assert nf["shadow"]["promoted"] > 0


MARKS = """
class Marks(NetworkFunction):
    @on("packet.ip")
    def mark(self, event):
        event.edit(ip_dscp=46)
"""


def test_it_edits_from_one_event_on(workbench: Workbench, demo: Path) -> None:
    process = start_slowly(workbench, demo, {"nf": workbench.nf("trial", MARKS), "shadow": True})
    ask_run(workbench, "promote", "trial")
    nf = finish(workbench, process)
    pairs = zip(records(demo), records(workbench.folder / "out.pcap"), strict=False)
    is_marked = [one != other for one, other in pairs if one[2][12:14] == b"\x08\x00"]  # IPv4
    assert is_marked == sorted(is_marked)
    assert 0 < is_marked.index(True) <= nf["shadow"]["edits"]


def test_flows_that_it_would_have_dropped_are_dropped_from_there_on(
    workbench: Workbench, demo: Path
) -> None:
    entry = {"nf": workbench.nf("trial", FLOWS)}
    process = start_slowly(workbench, demo, {**entry, "shadow": True})
    ask_run(workbench, "promote", "trial")
    nf = finish(workbench, process)
    before, after = nf["shadow"]["packets"], nf["gate"]["packets"]
    packets = workbench.summary()["input"]["packets"]

    chain = workbench.chain(entry, "flow_log", capture=demo)
    assert workbench.run("run", chain, "--count", packets, "--overwrite").returncode == 0
    real = workbench.summary()["nfs"][0]["gate"]["packets"]
    assert before.keys() == after.keys() == real.keys() == {"verdict.drop_flow"}
    assert before["verdict.drop_flow"] + after["verdict.drop_flow"] == real["verdict.drop_flow"]


def test_what_cannot_be_promoted_is_refused_and_on_failure_holds_for_what_was(
    workbench: Workbench, demo: Path
) -> None:
    entry = {"nf": workbench.nf("trial", THIN_OUT), "shadow": True, "on_failure": "closed"}
    process = start_slowly(workbench, demo, {**entry, "restart": False})

    def refusal(name: str) -> str:
        with pytest.raises(ControlError) as refused:
            ask_run(workbench, "promote", name)
        return str(refused.value)

    assert refusal("thick") == "there is no NF 'thick'; expected one of: trial, flow_log"
    assert refusal("flow_log") == "flow_log is not in shadow: it never drops a packet"
    ask_run(workbench, "promote", "trial")
    assert refusal("trial") == "trial is not in shadow: its verdicts count"
    os.kill(ask_run(workbench, "status")["nfs"][0]["process"], signal.SIGKILL)
    gate = finish(workbench, process)["gate"]
    assert gate["packets"]["nf.failed_closed"] > 0
    assert gate["passed_unjudged"] == 0
