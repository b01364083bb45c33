"""An NF as several processes: whatever their number, outputs are the same to the byte."""

from __future__ import annotations

import itertools
from pathlib import Path

from tests.conftest import ROOT, Workbench

RULES = str(ROOT / "configs" / "web.rules")
COUNT = str(ROOT / "examples" / "c" / "count.c")
DENIED = ["tcp dst port 23", "udp port 53"]

HALF = """
class Half(NetworkFunction):
    "Publish the beginning of each stream and leave it then; another NF writes it down."

    publishes = ["alert"]

    @on("tcp.data", filter="tcp port 80")
    def seen(self, event):
        self.alert(event, bytes(event.data[:8]).hex())
        event.flow.unsubscribe()
"""

READER = """
from microbox import DROP_FLOW

class Reader(NetworkFunction):
    "Judge by what another NF publishes."

    inline = True

    @on("alert")
    def told(self, event):
        self.record(event, message=event.message)
        return DROP_FLOW if event.message.startswith("48") else None
"""


def files_of(bench: Workbench, directory: str) -> dict[str, bytes]:
    """Contents of all logs and of the output."""
    logs = {path.name: path.read_bytes() for path in (bench.folder / directory).glob("*.jsonl")}
    assert not list((bench.folder / directory).glob("*.part"))
    return {**logs, "output": (bench.folder / "out.pcap").read_bytes()}


def run(bench: Workbench, directory: str, *entries: object, capture: Path) -> dict[str, bytes]:
    chain = bench.chain(*entries, capture=capture, output="out.pcap", logs={"directory": directory})
    result = bench.run("run", chain, "--json")
    assert result.returncode == 0, result.stderr
    return files_of(bench, directory)


def test_logs_and_output_do_not_depend_on_their_number(workbench: Workbench, demo: Path) -> None:
    seen = [
        run(
            workbench,
            f"logs-{count}",
            {"nf": "firewall", "deny": DENIED, "instances": count},
            {"nf": "flow_log", "instances": count},
            {"nf": "http", "instances": count},
            {"nf": "http_log", "instances": count, "spread_by": "hosts"},
            {"nf": "ids", "rules": RULES, "instances": count},
            {"nf": COUNT, "instances": count},
            capture=demo,
        )
        for count in (1, 3)
    ]
    assert set(seen[0]) == {
        *("firewall.jsonl", "flow_log.jsonl", "http_log.jsonl", "alert_log.jsonl"),
        *("count.jsonl", "output"),
    }
    assert seen[0] == seen[1]
    one, three = workbench.summary("logs-1"), workbench.summary("logs-3")
    for nf, alone in zip(three["nfs"], one["nfs"], strict=True):
        assert nf["name"] == alone["name"]
        counts = ("matched", "handled", "published", "alerts", "verdicts", "records", "gate")
        assert {name: nf[name] for name in counts} == {name: alone[name] for name in counts}
    assert three["nfs"][0]["summary"] == one["nfs"][0]["summary"]
    assert [each["name"] for each in three["nfs"][1]["instances"]] == [
        "flow_log.1",
        "flow_log.2",
        "flow_log.3",
    ]
    assert all(each["matched"] > 300 for each in three["nfs"][1]["instances"])
    assert three["top_flows"] == one["top_flows"]


def publish_and_read(
    bench: Workbench, publishing: int, reading: int, capture: Path
) -> dict[str, bytes]:
    return run(
        bench,
        f"logs-{publishing}-{reading}",
        {"nf": bench.nf("half", HALF), "instances": publishing},
        {"nf": bench.nf("reader", READER), "instances": reading},
        "alert_log",
        capture=capture,
    )


def test_instances_read_what_instances_publish(workbench: Workbench, demo: Path) -> None:
    seen = [
        publish_and_read(workbench, publishing, reading, demo)
        for publishing, reading in ((1, 1), (1, 3), (2, 1), (2, 2))
    ]
    assert seen[0]["reader.jsonl"].count(b"\n") > 50
    for one, other in itertools.pairwise(seen):
        assert one == other


BIG = """
from microbox import on_batch

class Big(NetworkFunction):
    "Publish an alert for each large segment, all of a batch at one position of the log."

    publishes = ["alert"]

    @on_batch("tcp.data")
    def seen(self, batch):
        for event in batch:
            if len(event.data) > 1400:
                self.alert(event, str(len(event.data)))
"""


def test_instances_read_what_is_published_about_a_batch(workbench: Workbench, demo: Path) -> None:
    """An alert lies where the batch ends, which may be in the share of another instance."""
    big, reader = workbench.nf("big", BIG), workbench.nf("reader", READER)
    one, three = (
        run(
            workbench,
            f"logs-{count}",
            big,
            {"nf": reader, "instances": count},
            "alert_log",
            capture=demo,
        )
        for count in (1, 3)
    )
    assert one["reader.jsonl"].count(b"\n") > 500
    assert one == three


FRAGILE = """
from microbox import DROP, PASS

class Fragile(NetworkFunction):
    @on("tcp.start")
    def seen(self, event):
        if event.flow.source_port == 54484:
            os.kill(os.getpid(), signal.SIGKILL)
        return DROP if event.flow.source_port == 1 else PASS
"""


def test_what_a_dead_instance_should_have_judged_does_not_pass(
    workbench: Workbench, demo: Path
) -> None:
    fragile = {"nf": workbench.nf("fragile", FRAGILE), "instances": 3}
    chain = workbench.chain(fragile, capture=demo, output="out.pcap")
    result = workbench.run("run", chain, "--json")
    assert result.returncode == 1
    nf = workbench.summary()["nfs"][0]
    dead = [one for one in nf["instances"] if one["outcome"] == "was killed by SIGKILL"]
    living = [one for one in nf["instances"] if one["outcome"] == "finished"]
    assert (len(dead), len(living)) == (1, 2)
    assert nf["outcome"] == f"{dead[0]['name']} was killed by SIGKILL"
    assert sum(dead[0]["gate"]["packets"].values()) > 100
    assert all(one["gate"]["packets"] == {} and one["matched"] > 200 for one in living)
