"""NFs that die and are started again: the others notice nothing, what is missed is counted."""

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
