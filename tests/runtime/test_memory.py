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
