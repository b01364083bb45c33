"""`microbox run` from outside: exit statuses, logs, what stands on stdout and stderr."""

import json
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Tshark, Workbench

PACKETS = 12  # of sample.pcap
SAMPLE = Path(__file__).parents[2] / "captures" / "sample.pcap"

COUNT = """
class Count(NetworkFunction):
    @on("packet")
    def see(self, event):
        self.record(event, number=event.packet)
"""


@pytest.fixture
def count_chain(workbench: "Workbench") -> Path:
    return workbench.chain(workbench.nf("count", COUNT))


def everything(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_two_replays_leave_the_same_files(workbench: "Workbench", demo: Path) -> None:
    chain = workbench.chain(
        "flow_log", "http_log", "dns_log", "tls_log", "port_scan", "syn_flood", capture=demo
    )
    for _ in range(2):
        result = workbench.run("run", chain, "--quiet")
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    first = everything(workbench.folder / "microbox-logs")
    second = everything(workbench.folder / "microbox-logs.1")
    assert "alert_log.jsonl" in first
    assert len(first["flow_log.jsonl"]) > 100_000
    assert first == second


def test_logs_of_an_earlier_run_are_kept_unless_told_otherwise(
    workbench: "Workbench", count_chain: Path
) -> None:
    for expected in ("out", "out.1"):
        result = workbench.run("run", count_chain, "-w", "out")
        assert f"Logs in {expected}\n" in result.stdout
    kept = (workbench.folder / "out" / "count.jsonl").stat()
    result = workbench.run("run", count_chain, "-w", "out", "--overwrite", "-c", 3)
    assert result.returncode == 0
    assert len(workbench.log("count", "out")) == 3
    assert len(workbench.log("count", "out.1")) == PACKETS
    assert kept.st_size > (workbench.folder / "out" / "count.jsonl").stat().st_size


def test_a_count_ends_the_run_after_so_many_packets(
    workbench: "Workbench", count_chain: Path
) -> None:
    assert workbench.run("run", count_chain, "-c", 5).returncode == 0
    assert [record["number"] for record in workbench.log("count")] == [1, 2, 3, 4, 5]
    assert workbench.summary()["input"]["packets"] == 5
    assert workbench.run("run", count_chain, "-c", 0).returncode == 2


def test_another_capture_can_be_read(
    workbench: "Workbench", count_chain: Path, sample: Path
) -> None:
    shutil.copy(sample, workbench.folder / "mine.pcap")
    result = workbench.run("run", count_chain, "-r", "mine.pcap")
    assert result.returncode == 0
    assert workbench.summary()["input"]["file"] == "mine.pcap"


def test_json_is_one_document_and_nothing_else(workbench: "Workbench") -> None:
    printing = workbench.nf("printing", COUNT + "    def start(self):\n        print('hello')\n")
    result = workbench.run("run", workbench.chain(printing), "--json")
    assert result.returncode == 0
    report = json.loads(result.stdout)
    assert report["status"] == 0
    assert report["events"]["packet.ip.tcp"] == 10
    assert report["timing"]["seconds"] > 0
    assert report["lost"] == 0
    assert result.stderr == "printing: hello\n"


def test_a_pipe_gets_no_control_codes(workbench: "Workbench", count_chain: Path) -> None:
    result = workbench.run("run", count_chain)
    assert "\x1b" not in result.stdout + result.stderr
    assert "\r" not in result.stdout + result.stderr
    assert result.stderr == ""


def test_utc_writes_times_as_text(workbench: "Workbench", count_chain: Path) -> None:
    workbench.run("run", count_chain, "--utc")
    assert str(workbench.log("count")[0]["timestamp"]).endswith("Z")
    workbench.run("run", count_chain)
    assert isinstance(workbench.log("count", "microbox-logs.1")[0]["timestamp"], float)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", ""), (b"GIF89a" + bytes(100), ""), (b"\xd4\xc3", ""), (None, "No such file")],
)
def test_what_is_no_capture_is_said_before_anything_starts(
    workbench: "Workbench", content: bytes | None, words: str
) -> None:
    if content is not None:
        (workbench.folder / "not.pcap").write_bytes(content)
    never = workbench.nf("never", "print('imported')\n" + COUNT)
    result = workbench.run("run", workbench.chain(never), "-r", "not.pcap")
    assert result.returncode == 2
    assert "not.pcap" in result.stderr
    assert words.lower() in result.stderr.lower()
    assert "imported" not in result.stdout + result.stderr
    assert not (workbench.folder / "microbox-logs").exists()


def test_a_directory_of_other_files_is_no_input(workbench: "Workbench", count_chain: Path) -> None:
    result = workbench.run("run", count_chain, "-r", ".")
    assert result.returncode == 2
    assert "of a directory, all files are read" in result.stderr


@pytest.mark.parametrize("option", ["--utc", "--json", "--quiet"])
def test_a_capture_that_ends_inside_a_packet_is_read_up_to_there(
    workbench: "Workbench", count_chain: Path, sample: Path, option: str
) -> None:
    (workbench.folder / "cut.pcap").write_bytes(sample.read_bytes()[:-5])
    result = workbench.run("run", count_chain, "-r", "cut.pcap", option)
    assert result.returncode == 0
    assert len(workbench.log("count")) == PACKETS - 1
    warning = workbench.summary()["input"]["warning"]
    assert "inside the record" in warning
    assert result.stderr == f"warning: cut.pcap: {warning}\n"


def frames(capture: Path) -> list[bytes]:
    """The frames of a little-endian pcap."""
    content = capture.read_bytes()
    found = []
    at = 24
    while at < len(content):
        length = struct.unpack_from("<I", content, at + 8)[0]
        found.append(content[at + 16 : at + 16 + length])
        at += 16 + length
    return found


WALL = """
from microbox import DROP
class Wall(NetworkFunction):
    @on("packet", filter="tcp and src host 192.0.2.66")
    def scanner(self, event):
        return DROP
    @on("packet", filter="tcp dst port 23")
    def telnet(self, event):
        return DROP
"""
DROPPED_BY_WALL = "tcp and not icmp and (ip.src == 192.0.2.66 or tcp.dstport == 23)"


def test_what_an_nf_drops_is_not_in_the_output(
    workbench: "Workbench", demo: Path, tshark: "Tshark"
) -> None:
    chain = workbench.chain(
        workbench.nf("wall", WALL),
        "flow_log",
        capture=demo,
        output=str(workbench.folder / "passed.pcap"),
    )
    result = workbench.run("run", chain)
    assert result.returncode == 0
    dropped = {int(number) for (number,) in tshark(demo, DROPPED_BY_WALL, "frame.number")}
    expected = [frame for number, frame in enumerate(frames(demo), 1) if number not in dropped]
    assert dropped
    assert frames(workbench.folder / "passed.pcap") == expected
    output = next(one for one in workbench.summary()["balances"] if one["name"] == "output")
    assert [part["count"] for part in output["parts"]] == [len(expected), len(dropped), 0, 0, 0]
    assert workbench.summary()["lost"] == 0


def test_the_output_cannot_be_the_input(workbench: "Workbench", sample: Path) -> None:
    shutil.copy(sample, workbench.folder / "mine.pcap")
    (workbench.folder / "other.pcap").hardlink_to(workbench.folder / "mine.pcap")
    chain = workbench.chain(
        workbench.nf("count", COUNT),
        capture=workbench.folder / "mine.pcap",
        output=str(workbench.folder / "other.pcap"),
    )
    result = workbench.run("run", chain)
    assert result.returncode == 2
    assert "is the input" in result.stderr
    assert (workbench.folder / "mine.pcap").read_bytes() == sample.read_bytes()


def test_summary_and_counters_say_what_the_logs_say(workbench: "Workbench", demo: Path) -> None:
    assert (
        workbench.run("run", workbench.chain("flow_log", "http_log", capture=demo)).returncode == 0
    )
    summary = workbench.summary()
    for name, lines in summary["logs"].items():
        assert lines == len(workbench.log(name.removesuffix(".jsonl")))
    flows = summary["events"]["flow.tcp.end"]
    assert flows == summary["input"]["flows"]["tcp"]
    assert flows == sum(record["proto"] == "TCP" for record in workbench.log("flow_log"))
    for balance in summary["balances"]:
        assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])


def test_the_run_goes_on_where_nobody_listens(workbench: "Workbench", demo: Path) -> None:
    chatty = """
class Chatty(NetworkFunction):
    @on("packet")
    def see(self, event):
        print("x" * 100)
        if event.packet == 1:
            time.sleep(0.5)
        if event.fragments == 0:
            self.record(event, number=event.packet)
"""
    process = workbench.start("run", workbench.chain(workbench.nf("chatty", chatty), capture=demo))
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert len(workbench.log("chatty")) == workbench.summary()["input"]["packets"]


def test_what_nfs_print_appears_in_any_locale(workbench: "Workbench") -> None:
    printing = workbench.nf("printing", COUNT + "    def start(self):\n        print('größe →')\n")
    ascii_only = ["env", "PYTHONIOENCODING=ascii", "PYTHONUTF8=0"]
    result = workbench.run("run", workbench.chain(printing), prefix=ascii_only)
    assert result.returncode == 0, result.stderr
    assert "printing: gr\\xf6\\xdfe \\u2192" in result.stdout


def test_parameters_that_are_too_large_to_send_are_said(workbench: "Workbench") -> None:
    code = COUNT.replace("    @on", "    words: list[str] = []\n    @on", 1)
    chain = workbench.chain({"nf": workbench.nf("count", code), "words": ["x" * 1000] * 300})
    result = workbench.run("run", chain)
    assert result.returncode == 1
    assert "count cannot be told what to do: 'load' is too large" in result.stderr
    assert workbench.processes() == {}


def test_a_thread_that_an_nf_left_running_does_not_hold_up_the_end(
    workbench: "Workbench",
) -> None:
    code = """
import threading
class Threads(NetworkFunction):
    def start(self):
        threading.Thread(target=time.sleep, args=(600,)).start()
    @on("packet")
    def see(self, event):
        self.record(event, number=event.packet)
"""
    result = workbench.run("run", workbench.chain(workbench.nf("threads", code)))
    assert result.returncode == 0
    assert "threads finished, but then its process was killed by SIGKILL" in result.stderr
    assert len(workbench.log("threads")) == PACKETS


def test_parameters_that_nfs_refuse_are_said_where_the_chain_sets_them(
    workbench: "Workbench",
) -> None:
    chain = workbench.folder / "chain.yaml"
    chain.write_text(
        "input: sample.pcap\n"
        "chain:\n"
        "  - nf: ids\n"
        "    rules: none.rules\n"
        "  - {nf: firewall, deny: [tcp dst prot 23]}\n"
    )
    shutil.copy(SAMPLE, workbench.folder)
    result = workbench.run("run", "chain.yaml")
    assert (result.returncode, result.stdout) == (2, "")
    ids, firewall, count = result.stderr.splitlines()
    # An NF with a uid of its own may not even see that a file is missing in a folder of root's.
    assert ids.startswith("chain.yaml:4:12: ids: rules: ")
    assert str(workbench.folder / "none.rules") in ids
    assert firewall.startswith("chain.yaml:5:26: firewall: deny: rule 'tcp dst prot 23': 'prot' is")
    assert count == "2 errors"
