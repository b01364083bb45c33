"""NFs are attached to a chain that runs: they see what is right, and the others notice nothing."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NF_PRELUDE, Workbench

COUNT = """
class Count(NetworkFunction):
    def start(self):
        self.seen = []
    @on("packet")
    def see(self, event):
        if not self.seen:
            print("sees", flush=True)
        self.seen.append(event.packet)
    def finish(self):
        return {"first": self.seen[0], "last": self.seen[-1], "count": len(set(self.seen))}
"""

TELL = """
class Tell(NetworkFunction):
    publishes = ["flow.told"]
    declares = {"flow.told": {"number": "u32"}}
    number = 0
    @on("tcp.start", "udp.start")
    def tell(self, event):
        self.number += 1
        self.publish("flow.told", event, number=self.number)
"""


class Guest:
    """An NF that is attached, with pipes for a terminal."""

    def __init__(self, bench: Workbench, *arguments: object) -> None:
        self._bench = bench
        self.process = bench.start("attach", *arguments, "--json")

    def wait_for(self, words: str) -> str:
        """Until a line with these words is printed."""
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"it did not print '{words}', but: {''.join(lines)}")

    def leave(self) -> dict[str, Any]:
        """As with Ctrl-C; what it did."""
        self.process.send_signal(signal.SIGINT)
        return self.results()

    def results(self) -> dict[str, Any]:
        result = self._bench.end(self.process)
        assert result.returncode == 0, result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Iterator[Workbench]:
    """One chain that runs slowly, for all tests that leave it as they found it."""
    bench = Workbench(tmp_path_factory.mktemp("attach"))
    chain = bench.chain(bench.nf("tell", TELL), "flow_log", capture=demo)
    run = bench.start("run", chain, "--pace", "0.1")
    begun(bench, run)
    yield bench
    bench.run("stop")
    result = bench.end(run)
    summary = bench.summary()
    leftovers = bench.processes()
    bench.clean_up()
    assert result.returncode == 143, result.stderr
    assert leftovers == {}
    assert summary["lost"] == sum(nf["raised"] for nf in summary["nfs"])
    for balance in summary["balances"]:
        assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])


def begun(bench: Workbench, run: "subprocess.Popen[str]") -> None:
    """Packets flow."""
    bench.until(lambda: run.poll() is not None or "packets" in bench.run("ps").stdout)
    assert run.poll() is None, bench.end(run).stderr


def guest(bench: Workbench, name: str, code: str, *arguments: object) -> Guest:
    return Guest(bench, bench.nf(name, code), *arguments)


def nfs(bench: Workbench) -> list[dict[str, Any]]:
    (run,) = json.loads(bench.run("ps", "--json").stdout)
    rows: list[dict[str, Any]] = run["nfs"]
    return rows


def test_it_sees_each_packet_from_when_it_came_to_when_it_left(bench: Workbench) -> None:
    count = guest(bench, "count", COUNT)
    count.wait_for("sees")
    (row,) = [nf for nf in nfs(bench) if nf["attached"]]
    assert (row["name"], row["process"]) == ("count", count.process.pid)
    assert row["in_force"]["sandbox"]
    assert row["in_force"]["seccomp"]
    results = count.leave()
    summary = results["summary"]
    assert results["outcome"] == "left"
    assert summary["first"] > 1
    assert summary["last"] - summary["first"] + 1 == summary["count"] == results["handled"]
    assert [nf["name"] for nf in nfs(bench)] == ["tell", "flow_log"]


def test_somebody_else_can_take_it_out(bench: Workbench) -> None:
    count = guest(bench, "count", COUNT)
    count.wait_for("sees")
    assert bench.run("reload", "count").stderr.endswith("end it, and attach it anew\n")
    assert bench.run("detach", "count").returncode == 0
    assert count.results()["outcome"] == "left"


FIRST = """
class First(NetworkFunction):
    def start(self):
        self.first = []
    @on("system.nf_attached", "flow.present", "packet")
    def see(self, event):
        self.first.append(event.type.name)
        if event.type.name.startswith("packet"):
            print("sees", flush=True)
    def finish(self):
        return {"first": self.first[0], "present": self.first.count("flow.present"),
                "before": self.first[1:].index(next(n for n in self.first if "packet" in n))}
"""


def test_first_comes_the_word_that_it_is_there_then_the_flows(bench: Workbench) -> None:
    first = guest(bench, "first", FIRST, "--catch-up", "flows")
    first.wait_for("sees")
    summary = first.leave()["summary"]
    assert summary["first"] == "system.nf_attached"
    assert summary["present"] == summary["before"] > 0


DATA = """
class Data(NetworkFunction):
    octets = 0
    @on("tcp.data", filter="port 80")
    def see(self, event):
        if not self.octets:
            print("sees", flush=True)
        self.octets += len(event.data)
    def finish(self):
        return {"octets": self.octets}
"""


def test_streams_begin_where_somebody_wants_them(bench: Workbench) -> None:
    data = guest(bench, "data", DATA)
    data.wait_for("sees")
    assert data.leave()["summary"]["octets"] > 0


TOLD = """
from microbox import event
class Told(NetworkFunction):
    declares = {"flow.told": {"number": "u32"}}
    odd = event("flow.told.odd", when="number & 1 == 1")
    def start(self):
        self.seen = []
    @on("flow.told.odd")
    def see(self, event):
        if not self.seen:
            print("sees", flush=True)
        self.seen.append(event.number)
    def finish(self):
        return {"seen": self.seen}
"""


def test_a_publisher_that_runs_derives_what_it_wants(bench: Workbench) -> None:
    told = guest(bench, "told", TOLD)
    told.wait_for("sees")
    assert "told reads what tell publishes" in bench.run("detach", "tell").stderr
    seen = told.leave()["summary"]["seen"]
    assert seen == list(range(seen[0], seen[-1] + 1, 2))
    assert seen[0] % 2 == 1


HTTP = """
class Http(NetworkFunction):
    publishes = ["alert"]
    @on("http.request")
    def see(self, event):
        self.alert(event, "a request", signature="seen")
        print("sees", flush=True)
"""


def test_what_it_needs_comes_and_goes_with_it(bench: Workbench) -> None:
    http = guest(bench, "http", HTTP)
    http.wait_for("sees")
    assert [nf["name"] for nf in nfs(bench)] == [
        "tell",
        "flow_log",
        "http_parser",
        "http",
        "alert_log",
    ]
    http.leave()
    assert [nf["name"] for nf in nfs(bench)] == ["tell", "flow_log"]
    assert bench.log("alert_log")[0]["nf"] == "http"


ASYNC = """
import asyncio
class Later(NetworkFunction):
    seen = 0
    @on("packet")
    async def see(self, event):
        await asyncio.sleep(0)
        self.seen += 1
        if self.seen == 1:
            print("sees", flush=True)
    def finish(self):
        return {"seen": self.seen}
"""


def test_an_nf_on_an_event_loop_leaves_likewise(bench: Workbench) -> None:
    later = guest(bench, "later", ASYNC, "--stage", "first")
    later.wait_for("sees")
    assert later.leave()["summary"]["seen"] > 0


def test_an_nf_in_c_as_well(bench: Workbench) -> None:
    source = Path(__file__).parents[2] / "examples" / "c" / "count.c"
    count = Guest(bench, source, "--name", "c_count")
    bench.until(lambda: [nf for nf in nfs(bench) if nf["name"] == "c_count" and nf["handled"]])
    assert count.leave()["handled"] > 0


def test_a_parameter_a_name_and_a_log(bench: Workbench) -> None:
    code = """
class Write(NetworkFunction):
    words: str
    numbers: list[int]
    rules: Path
    @on("packet")
    def see(self, event):
        self.record(event, words=self.words, numbers=self.numbers, rules=self.rules.read_text())
        print("sees", flush=True)
"""
    (bench.folder / "my.rules").write_text("rule")
    parameters = ("-p", "words=a b", "-p", "numbers=[1, 2]", "-p", "rules=my.rules")
    write = guest(
        bench, "write", "from pathlib import Path\n" + code, "--name", "mine", *parameters
    )
    write.wait_for("sees")
    results = write.leave()
    line = bench.log("mine")[0]
    assert (line["words"], line["numbers"], line["rules"]) == ("a b", [1, 2], "rule")
    assert results["log"].endswith("/mine.jsonl")
    assert results["records"] == len(bench.log("mine"))


@pytest.mark.parametrize(
    ("code", "arguments", "status", "words"),
    [
        (COUNT, ["--name", "tell"], 2, "the chain has an NF 'tell'; expected another name"),
        (COUNT.replace('"packet"', '"pakket"'), [], 2, "(wrong.py:7): unknown event type 'pakket'"),
        (
            COUNT.replace('"packet"', '"packet", filter="prt 1"'),
            [],
            2,
            "wrong.py:7:26: filter 'prt 1': can't parse filter expression: syntax error; expected",
        ),
        (COUNT, ["-p", "limit=3"], 2, "wrong.py: wrong: unknown parameter 'limit'"),
        ("class Broken(NetworkFunction)\n", [], 2, "expected ':'"),
        (f"{COUNT}    x: int\n", [], 2, "wrong: parameter 'x' (int) is missing"),
        (COUNT.replace("self.seen = []", "1 / 0"), [], 2, "ZeroDivisionError: division by zero"),
        (COUNT, ["--after", "nobody"], 2, "no NF of the chain is called 'nobody'"),
        (COUNT, ["--on-failure", "closed"], 2, "never drops a packet, so it cannot fail closed"),
        (COUNT, ["--deadline", "2"], 2, "--deadline: '2' is no duration; expected one"),
        (COUNT, ["-p", "limit"], 2, "-p: 'limit' names no value; expected NAME=VALUE"),
        (COUNT, ["--run", "other"], 2, "there is no run called 'other'; expected one of (--run): "),
    ],
)
def test_what_cannot_be_attached_is_told_why(
    bench: Workbench, code: str, arguments: list[str], status: int, words: str
) -> None:
    result = bench.run("attach", bench.nf("wrong", code), *arguments)
    assert (result.returncode, words in result.stderr) == (status, True), result.stderr
    assert [nf["name"] for nf in nfs(bench)] == ["tell", "flow_log"]


def test_a_handler_that_raises_ends_it_and_nothing_else(bench: Workbench) -> None:
    code = """
class Raises(NetworkFunction):
    @on("packet")
    def see(self, event):
        raise ValueError("unheard of")
"""
    result = bench.run("attach", bench.nf("raises", code))
    assert result.returncode == 1
    assert "see(): ValueError: unheard of (on packet" in result.stderr
    assert 'raise ValueError("unheard of")' in result.stderr
    bench.until(lambda: [nf["name"] for nf in nfs(bench)] == ["tell", "flow_log"])


def test_one_that_is_killed_leaves_its_place_to_the_next(bench: Workbench) -> None:
    for _ in range(2):
        count = guest(bench, "count", COUNT)
        count.wait_for("sees")
        count.process.kill()
        bench.end(count.process)
        bench.until(lambda: [nf["name"] for nf in nfs(bench)] == ["tell", "flow_log"])


def test_one_that_stands_still_is_ended_at_its_deadline(bench: Workbench) -> None:
    count = guest(bench, "count", COUNT, "--deadline", "500ms")
    count.wait_for("sees")
    os.kill(count.process.pid, signal.SIGSTOP)
    assert bench.end(count.process).returncode == -signal.SIGKILL


def test_the_others_write_what_they_write_without_it(workbench: Workbench, demo: Path) -> None:
    chain = workbench.chain(
        workbench.nf("tell", TELL), "flow_log", "http_log", "dns_log", capture=demo
    )
    packets = ("-c", 7000)
    assert workbench.run("run", chain, "-q", "-w", "alone", *packets).returncode == 0
    run = workbench.start("run", chain, "-q", "-w", "together", *packets, "--pace", "0.5")
    begun(workbench, run)
    stays = guest(workbench, "count", COUNT)
    goes = guest(workbench, "data", DATA)
    stays.wait_for("sees")
    goes.wait_for("sees")
    goes.leave()
    assert workbench.end(run).returncode == 0
    assert stays.results()["outcome"] == "finished"
    for name in ("flow_log", "http_log", "dns_log"):
        files = [workbench.folder / place / f"{name}.jsonl" for place in ("alone", "together")]
        assert files[0].read_bytes() == files[1].read_bytes()


DROP = """
class Drop(NetworkFunction):
    @on("packet.ip.udp")
    def drop(self, event):
        print("sees", flush=True)
        return DROP
"""


def test_one_that_judges_drops_while_it_is_there(workbench: Workbench, demo: Path) -> None:
    chain = workbench.chain("flow_log", capture=demo, output="out.pcap")
    run = workbench.start("run", chain, "--pace", "0.5")
    begun(workbench, run)
    (workbench.folder / "drop.py").write_text("from microbox import DROP\n" + NF_PRELUDE + DROP)
    drop = Guest(workbench, "./drop.py")
    drop.wait_for("sees")
    dropped = drop.leave()["handled"]
    workbench.run("stop")
    workbench.end(run)
    summary = workbench.summary()
    (entry,) = [nf for nf in summary["nfs"] if nf["name"] == "drop"]
    assert entry["gate"]["packets"] == {"verdict.drop": dropped}
    assert summary["output"]["packets"] == summary["input"]["packets"] - dropped
    assert summary["lost"] == 0


def test_there_has_to_be_one_run(workbench: Workbench, demo: Path) -> None:
    nf = workbench.nf("count", COUNT)
    result = workbench.run("attach", nf)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: there is no run; nothing of this user runs")
    chain = workbench.chain("flow_log", capture=demo)
    runs = [workbench.start("run", chain, "--pace", "0.1", "-w", name) for name in ("a", "b")]
    workbench.until(lambda: len(json.loads(workbench.run("ps", "--json").stdout)) == len(runs))
    result = workbench.run("attach", nf)
    names = sorted(f"chain.{run.pid}" for run in runs)
    assert result.stderr == (
        f"error: there are 2 runs; expected one of (--run): {', '.join(names)}\n"
    )
    count = Guest(workbench, nf, "--run", names[0])
    count.wait_for("sees")
    for run in runs:
        run.send_signal(signal.SIGINT)
    for run in runs:
        assert workbench.end(run).returncode == 130
    assert count.results()["outcome"] == "finished"
