"""What `microbox check` says that a chain takes is what its worker maps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from traffic import repeated

from microbox.chain.units import format_size
from microbox.cli.memory_words import memory_in_words
from microbox.testing import tcp, udp
from microbox.testing.traffic import Traffic
from tests.conftest import ROOT, Workbench

MODULE = ROOT / "examples" / "modules"
SLACK = 1 << 20

JUDGE = """
class Judge(NetworkFunction):
    inline = True
    declares = {
        "tcp.response": {"microseconds": "u32", "request_bytes": "u32", "number": "u32"},
        "tcp.data.many": {},
    }
    @on("tcp.data", "tcp.response", "tcp.data.many", "tcp.anomaly.overlap.inconsistent")
    def look(self, event):
        event.flow.unsubscribe()
"""
REWRITES = """
class Rewrites(NetworkFunction):
    @on("udp.start")
    def rename(self, event):
        event.flow.rewrite(source="10.9.9.9")
"""
EDITS = """
class Edits(NetworkFunction):
    @on("packet.ip.udp")
    def edit(self, event):
        event.edit(ip_ttl=9)
"""

SMALL = {
    "flows_max": 100_000,
    "held_segments_max": 50_000,
    "compared_segments_max": 50_000,
    "judged_bytes_max": 4 << 20,
    "fragmented_datagrams_max": 1024,
    "command_delay": 8192,
}
LARGE = {
    "flows_max": 300_000,
    "held_segments_max": 90_000,
    "compared_segments_max": 200_000,
    "judged_bytes_max": 64 << 20,
    "fragmented_datagrams_max": 8192,
    "command_delay": 1 << 17,
}


def build_module(folder: Path) -> str:
    headers = subprocess.run(
        [Path(sys.executable).with_name("microbox"), "include"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    module = folder / "response_time.so"
    command = ["cc", "-shared", "-fPIC", f"-I{headers}", "-o", str(module)]
    subprocess.run([*command, str(MODULE / "response_time.c")], check=True)
    return str(module)


def said_and_mapped(bench: Workbench, chain: Path) -> tuple[dict[str, int], int]:
    """Parts of the chain by name, and bytes of the worker's address space."""
    checked = json.loads(bench.run("check", chain, "--json").stdout)
    assert checked["errors"] == []
    parts = {f"{one['part']} {one['nf']}": one["bytes"] for one in checked["memory"]["parts"]}
    run = bench.start("run", chain, "--pace", "1")
    bench.until(lambda: run.poll() is not None or "packets" in bench.run("ps").stdout)
    statm = Path(f"/proc/{bench.worker()}/statm").read_text()
    bench.run("stop")
    assert bench.end(run).returncode != 1
    return parts, int(statm.split()[0]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
def test_what_a_chain_says_that_it_takes_is_what_it_maps(
    workbench: Workbench, sample: Path
) -> None:
    """Whatever the tables are made for: modules, counters, NFs in shadow, rewrites, edits."""
    capture = repeated(sample, workbench.folder / "steady.pcap", times=3000, apart=0.1)
    entries: list[Any] = [
        workbench.nf("judge", JUDGE),
        {"nf": workbench.nf("rewrites", REWRITES), "shadow": True},
        workbench.nf("edits", EDITS),
    ]
    module = build_module(workbench.folder)
    counts = {"tcp.data.many": {"counters": {"seen": "true"}, "when": "seen == 9"}}

    def chain(limits: dict[str, int]) -> Path:
        stack = {**limits, "modules": [module]}
        return workbench.chain(*entries, capture=capture, stack=stack, events=counts)

    small, before = said_and_mapped(workbench, chain(SMALL))
    large, after = said_and_mapped(workbench, chain(LARGE))
    grown = {name for name in large if large[name] > small[name]}
    assert grown == {
        "flows None",
        "held_segments None",
        "compared_segments None",
        "judged_bytes None",
        "fragments None",
        "commands None",
        "area judge",
    }
    more = sum(large.values()) - sum(small.values())
    assert more - SLACK < after - before < more + SLACK


LATE = """
class Late(NetworkFunction):
    @on("packet")
    def see(self, event):
        pass
"""


def test_an_nf_that_does_not_fit_in_is_not_attached(workbench: Workbench, sample: Path) -> None:
    capture = repeated(sample, workbench.folder / "steady.pcap", times=3000, apart=0.1)
    chain = workbench.chain("flow_log", capture=capture)
    total = json.loads(workbench.run("check", chain, "--json").stdout)["memory"]["total"]
    late = workbench.nf("late", LATE)
    run = workbench.start("run", chain, "--pace", "1", "--set", f"memory_max={total}")
    workbench.until(lambda: run.poll() is not None or "packets" in workbench.run("ps").stdout)
    attached = workbench.run("attach", late)
    assert attached.returncode == 2
    assert "`memory_max` is " in attached.stderr
    assert "Traceback" not in attached.stderr
    workbench.run("stop")
    assert workbench.end(run).returncode != 1
    assert [nf["name"] for nf in workbench.summary()["nfs"]] == ["flow_log"]


# --- what was taken ---

READS = """
class Reads(NetworkFunction):
    inline = True
    @on("tcp.data", "tcp.anomaly.overlap.inconsistent", "flow.start")
    def see(self, event):
        pass
"""
TAKEN_LIMITS = {
    "flows_max": 100,
    "held_segments_max": 50,
    "compared_segments_max": 64,
    "judged_bytes_max": 1 << 20,
    "fragmented_datagrams_max": 8,
}


def traffic_that_takes(path: Path) -> Path:
    """Three flows at once, three segments that wait for a fourth, two datagrams in parts."""
    late = (
        tcp("10.0.0.1:1000", "10.0.0.2:80").open().send(bytes(4000), mss=1000, order=[1, 2, 3, 0])
    )
    others = [tcp(f"10.0.0.3:{port}", "10.0.0.2:80").open() for port in (1, 2)]
    cut = [udp(f"10.0.0.{host}:5", "10.0.0.2:6").send(bytes(99), fragment=64) for host in (4, 5)]
    packets = [*late, *others[0], *others[1], *(flow.traffic[0] for flow in cut)]
    Traffic.of(*(packet.data for packet in packets)).write(path)
    return path


def test_what_was_taken_is_shown_by_part(workbench: Workbench) -> None:
    capture = traffic_that_takes(workbench.folder / "taken.pcap")
    reads = workbench.nf("reads", READS)
    chain = workbench.chain(reads, capture=capture, stack=TAKEN_LIMITS, memory_max="4GiB")
    memory = json.loads(workbench.run("run", chain, "--json").stdout)["memory"]
    parts = {part["part"]: part for part in memory["parts"] if part["nf"] is None}
    shares = {name: part["used"] / part["limit"] for name, part in parts.items()}
    assert shares["flows"] == pytest.approx(3 / 100, rel=0.01)
    assert shares["held_segments"] == pytest.approx(3 / 50, rel=0.01)
    assert shares["compared_segments"] == pytest.approx(4 / 64, rel=0.01)
    blocks = shares["judged_bytes"] * (1 << 20) / 2048  # which 4,000 bytes begin anywhere in
    assert round(blocks) in (2, 3)
    assert shares["fragments"] == pytest.approx(2 / 8, rel=0.01)
    assert 0 < shares["log"] < 0.1
    assert memory["used"] == sum(part["used"] for part in memory["parts"])
    assert memory["limit"] == sum(part["limit"] for part in memory["parts"])
    assert memory["budget"] == 4 << 30
    assert "memory" not in workbench.summary()


def test_while_it_runs_no_part_is_beyond_its_limit(workbench: Workbench, sample: Path) -> None:
    capture = repeated(sample, workbench.folder / "steady.pcap", times=3000, apart=0.1)
    chain = workbench.chain("flow_log", "http_log", capture=capture, workers=2)
    checked = json.loads(workbench.run("check", chain, "--json").stdout)["memory"]
    run = workbench.start("run", chain, "--pace", "1")
    workbench.until(lambda: run.poll() is not None or "packets" in workbench.run("ps").stdout)
    (status,) = json.loads(workbench.run("ps", "--json").stdout)
    memory = status["memory"]
    assert (memory["limit"], memory["budget"]) == (checked["total"], None)
    assert len(memory["parts"]) == len(checked["parts"])
    for part in memory["parts"]:
        assert 0 <= part["used"] <= part["limit"]
    areas = {part["nf"]: part for part in memory["parts"] if part["part"] == "area"}
    assert areas.keys() == {"flow_log", "http_parser", "http_log"}
    assert all(area["used"] > 0 for area in areas.values())
    assert format_size(memory["limit"]) in workbench.run("ps").stdout
    workbench.run("stop")
    assert workbench.end(run).returncode != 1


@pytest.mark.parametrize(
    ("used", "budget", "words"),
    [
        (9, None, ""),
        (10, None, ", held segments 10% of 100.0 MiB"),
        (100, 1 << 30, " (memory_max 1.0 GiB), held segments 100% of 100.0 MiB"),
    ],
)
def test_a_table_that_fills_up_is_named(used: int, budget: int | None, words: str) -> None:
    """A log does not: it is a ring."""
    parts = [
        {"part": "log", "nf": None, "used": 100 << 20, "limit": 100 << 20},
        {"part": "held_segments", "nf": None, "used": used << 20, "limit": 100 << 20},
    ]
    use = {"used": 20 << 20, "limit": 300 << 20, "budget": budget, "parts": parts}
    assert memory_in_words(use) == f"20.0 MiB of 300.0 MiB{words}"
