"""NFs that die and are started again: the others notice nothing, what is missed is counted."""

import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Workbench

# The demo takes 40 s at its own pace: time enough to come back.
PACE = "0.5"

COUNT = """
class Count(NetworkFunction):
    def start(self):
        self.seen = set()
    @on("packet")
    def see(self, event):
        self.seen.add(event.packet)
    def finish(self):
        return {"seen": len(self.seen)}
"""

# Dies at its 20th event, in its first life.
DIES_ONCE = """
class DiesOnce(NetworkFunction):
    inline = INLINE
    seen = 0
    first = ""
    @on("packet", "system.nf_attached")
    def see(self, event):
        self.first = self.first or event.type.name
        self.seen += 1
        if self.seen == 20 and not os.path.exists("died"):
            open("died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.seen == 20:
            open("back", "w").write("yes")
    def finish(self):
        return {"seen": self.seen, "first": self.first}
"""

DIES_ALWAYS = """
class DiesAlways(NetworkFunction):
    @on("packet")
    def see(self, event):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run_until_it_is_back(
    workbench: "Workbench", demo: "Path", restart: Any, *, is_inline: bool = False, **keys: Any
) -> tuple[str, dict[str, Any]]:
    code = DIES_ONCE.replace("INLINE", str(is_inline))
    dying = {"nf": workbench.nf("dies_once", code), "restart": restart, **keys}
    chain = workbench.chain(
        dying,
        workbench.nf("count", COUNT),
        capture=demo,
        output=str(workbench.folder / "out.pcap"),
    )
    process = workbench.start("run", chain, "--pace", PACE)
    workbench.wait_for(workbench.folder / "back")
    workbench.run("stop")
    result = workbench.end(process)
    assert workbench.processes() == {}
    return result.stderr, workbench.summary()


def test_an_nf_that_died_comes_back_and_the_others_miss_nothing(
    workbench: "Workbench", demo: "Path"
) -> None:
    said, summary = run_until_it_is_back(workbench, demo, {"backoff": "10ms"})
    assert "dies_once was killed by SIGKILL; it starts again in 0.01 s (1 of 5)" in said
    assert "dies_once runs again, from event" in said
    again, count = summary["nfs"]
    assert (again["outcome"], again["restarts"]) == ("finished", 1)
    assert again["summary"]["first"] == "system.nf_attached"
    assert count["summary"] == {"seen": summary["input"]["packets"]}
    assert again["matched"] < summary["input"]["packets"]  # both lives
    (balance,) = [one for one in summary["balances"] if one["name"] == "read by dies_once"]
    assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])
    assert balance["parts"][1]["what"] == "while it was down"
    assert 0 < balance["parts"][1]["count"] == summary["lost"]


def test_meanwhile_its_packets_pass_or_do_not_as_the_chain_says(
    workbench: "Workbench", demo: "Path"
) -> None:
    _, summary = run_until_it_is_back(workbench, demo, True, is_inline=True, on_failure="closed")
    packets, dropped = summary["input"]["packets"], summary["reasons"]["nf.failed_closed"]
    assert dropped > 0
    assert summary["output"]["packets"] == packets - dropped
    assert summary["nfs"][1]["summary"] == {"seen": packets - dropped}


def test_an_nf_that_dies_each_time_is_given_up(workbench: "Workbench", demo: "Path") -> None:
    dying = {
        "nf": workbench.nf("dies_always", DIES_ALWAYS),
        "restart": {"attempts": 2, "backoff": "10ms"},
    }
    chain = workbench.chain(dying, workbench.nf("count", COUNT), capture=demo)
    process = workbench.start("run", chain, "--pace", PACE)
    workbench.until(lambda: given_up(workbench))
    workbench.run("stop")
    result = workbench.end(process)
    assert "it starts again in 0.01 s (1 of 2)" in result.stderr
    assert "it starts again in 0.02 s (2 of 2)" in result.stderr
    gone = "dies_always was killed by SIGKILL; given up after 2 restarts"
    assert f"error: {gone}; the rest of the chain goes on" in result.stderr
    summary = workbench.summary()
    assert summary["error"] == gone
    assert summary["nfs"][1]["summary"] == {"seen": summary["input"]["packets"]}


def given_up(workbench: "Workbench") -> bool:
    import json

    runs = json.loads(workbench.run("ps", "--json").stdout)
    return any(
        nf["restarts"] == 2 and nf["outcome"] != "runs"
        for run in runs
        for nf in run["nfs"]
        if nf["name"] == "dies_always"
    )


# --- of every kind ---

# The worker is never 100 packets ahead of it (command_delay), and once it is slow the rest of the
# capture takes 17 s, or until all are back.
SLOW = """
class Slow(NetworkFunction):
    commands = True
    @on("packet")
    def see(self, event):
        if event.packet == 2000:
            open("slow", "w").write("yes")
            while not os.path.exists("started"):
                time.sleep(0.001)
        if event.packet > 2000 and not os.path.exists("back"):
            time.sleep(0.002)
"""

WITNESS = """
class Witness(NetworkFunction):
    @on("packet", "flow", "tcp.data")
    def see(self, event):
        self.record(event, name=event.name, packet=event.packet, bytes=len(event.data))
"""

VICTIM = """
class NAME(NetworkFunction):
    @on("packet", "system.nf_attached", "system.lost")
    HANDLER see(self, event):
        self.record(event, name=event.name, packet=event.packet)
"""

VICTIM_IN_C = """
#include "microbox/include/microbox_nf.h"
static enum mb_verdict see(struct mb_nf *nf, const struct mb_event *event) {
    mb_record(nf, event, mb_uint("packet", event->entry->packet));
    return MB_PASS;
}
const struct mb_nf_descriptor microbox_nf = {
    .abi = MB_NF_ABI,
    .name = "in_c",
    .doc = "Writes a line for each packet.",
    .handlers = {{.name = "see", .types = {"packet"}, .call = see}},
};
"""

VICTIMS = ("shared.2", "in_c", "awaits", "skips")
SURVIVORS = ("witness", "flow_log", "http_log")


def victim(workbench: "Workbench", name: str, **keys: Any) -> dict[str, Any]:
    handler = "async def" if name == "awaits" else "def"
    code = VICTIM.replace("NAME", name.capitalize()).replace("HANDLER", handler)
    return {"nf": workbench.nf(name, code), "restart": {"backoff": "10ms"}, **keys}


def nfs_that_run(workbench: "Workbench") -> dict[str, dict[str, Any]]:
    import json

    (run,) = json.loads(workbench.run("ps", "--json").stdout)
    return {nf["name"]: nf for nf in run["nfs"]}


def left_by(workbench: "Workbench") -> list[bytes]:
    logs = [workbench.folder / "microbox-logs" / f"{name}.jsonl" for name in SURVIVORS]
    return [file.read_bytes() for file in (*logs, workbench.folder / "out.pcap")]


def test_nfs_of_every_kind_come_back_and_the_others_write_the_same(
    workbench: "Workbench", demo: "Path"
) -> None:
    (workbench.folder / "in_c.c").write_text(VICTIM_IN_C)
    chain = workbench.chain(
        "block_telnet",
        workbench.nf("witness", WITNESS),
        victim(workbench, "shared", instances=2),
        {"nf": "./in_c.c", "restart": {"backoff": "10ms"}},
        victim(workbench, "awaits"),
        victim(workbench, "skips", on_lag="skip"),
        workbench.nf("slow", SLOW),
        "flow_log",
        "http_log",
        capture=demo,
        output="out.pcap",
        stack={"command_delay": 100},
    )
    back, started = workbench.folder / "back", workbench.folder / "started"
    for file in (back, started):
        file.touch()
    assert workbench.run("run", chain).returncode == 0
    whole = left_by(workbench)
    for file in (back, started, workbench.folder / "slow"):
        file.unlink()

    process = workbench.start("run", chain, "--overwrite")
    workbench.wait_for(workbench.folder / "slow")
    before = set(workbench.processes())
    killed = {nfs_that_run(workbench)[name]["process"] for name in VICTIMS}
    for number in killed:
        os.kill(number, signal.SIGKILL)
    workbench.until(lambda: len(set(workbench.processes()) - before) == len(VICTIMS))
    started.touch()
    workbench.until(lambda: all_are_back(nfs_that_run(workbench)))
    back.touch()
    result = workbench.end(process)
    assert result.returncode == 0, result.stderr
    assert left_by(workbench) == whole
    summary = workbench.summary()
    assert {nf["outcome"] for nf in summary["nfs"]} == {"finished"}
    restarts = {nf["name"]: nf["restarts"] for nf in summary["nfs"]}
    assert [restarts[name] for name in ("shared", "in_c", "awaits", "skips")] == [1, 1, 1, 1]
    for name in ("shared", "awaits"):
        assert "system.nf_attached" in {line["name"] for line in workbench.log(name)}
    for balance in summary["balances"]:
        assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"]), balance


def all_are_back(nfs: dict[str, dict[str, Any]]) -> bool:
    return all((nfs[name]["restarts"], nfs[name]["outcome"]) == (1, "runs") for name in VICTIMS)
