"""Captures that come through a pipe are handled while they come, in memory of fixed size; while
nothing comes, time goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from endless import FILE_HEADER, records, rounds
from live_pipe import Pipe

if TYPE_CHECKING:
    from tests.conftest import Workbench

PACKETS, FRAGMENTED = 10_587, 4
"""Of demo.pcap; datagrams that came in fragments have an event as a whole, too."""

PLAIN = ["env", "-u", "LD_PRELOAD"]
"""Before programs of others, which do not run with sanitizers that were loaded first."""

TELLS = """
class Tells(NetworkFunction):
    @on("packet")
    def see(self, event):
        print("packet", event.packet, flush=True)
    @on("flow.end")
    def end(self, event):
        print("end", event.reason, flush=True)
    @every(0.1)
    def tick(self, time):
        open("ticks", "a").write("tick ")
"""


@pytest.fixture
def pieces(sample: Path) -> list[bytes]:
    """The sample capture: its header, then each packet."""
    capture = sample.read_bytes()
    return [capture[:FILE_HEADER], *records(capture)]


def files(bench: Workbench, *arguments: object, source: str = "") -> dict[str, bytes]:
    """All that a run writes, which reads the output of the shell command `source`, if any."""
    prefix = ["sh", "-c", f'{source} | "$@"', "sh"] if source else []
    ended = bench.run("run", *arguments, "-q", "-w", "logs", "--overwrite", prefix=prefix)
    assert (ended.returncode, ended.stderr) == (0, "")
    written = {file.name: file.read_bytes() for file in (bench.folder / "logs").iterdir()}
    summary = json.loads(written.pop("summary.json"))
    if summary["input"]["stream"]:
        assert summary["input"]["stream"]["relieved"] == 0
    written["packets"] = str(summary["input"]["packets"]).encode()
    return written | {"output": (bench.folder / "out.pcap").read_bytes()}


def packets_received(bench: Workbench) -> int:
    """By the run that there is."""
    found = bench.run("ps", "--json")
    runs: list[dict[str, Any]] = json.loads(found.stdout) if found.returncode == 0 else []
    return sum(worker["received"] for run in runs for worker in run["workers"])


# --- packets ---


def test_a_packet_is_handled_before_the_next_one_comes(
    workbench: Workbench, pieces: list[bytes]
) -> None:
    chain = workbench.chain(workbench.nf("tells", TELLS))
    pipe = Pipe(workbench, chain, "-q")
    pipe.write(pieces[0])
    for number, packet in enumerate(pieces[1:], 1):
        pipe.write(packet)
        pipe.wait_until_said(f"tells: packet {number}")
    assert [run["doing"] for run in json.loads(workbench.run("ps", "--json").stdout)] == ["live"]
    pipe.writer.close()
    ended = workbench.end(pipe.run)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert workbench.summary()["input"]["packets"] == len(pieces) - 1


def test_what_a_small_window_is_used_for_again_and_again_is_the_same(
    workbench: Workbench, demo: Path
) -> None:
    capture = workbench.folder / "long.pcap"
    capture.write_bytes(b"".join(rounds(demo.read_bytes(), times=5)))
    chain = workbench.chain(
        "flow_log", "http_log", "dns_log", {"nf": "redact", "words": ["GET"]},
        capture=capture, output="out.pcap", input_window="4MiB",
    )  # fmt: skip
    mapped = files(workbench, chain)
    assert len(mapped["output"]) > 6 * (4 << 20)
    assert files(workbench, chain, "-r", "-", source="cat long.pcap") == mapped


@pytest.mark.parametrize("form", ["pcapng", "nsecpcap"])
def test_other_forms_of_captures_come_as_well(workbench: Workbench, demo: Path, form: str) -> None:
    if shutil.which("editcap") is None:
        pytest.skip("editcap is not installed")
    subprocess.run([*PLAIN, "editcap", "-F", form, demo, workbench.folder / "capture"], check=True)
    chain = workbench.chain(
        "flow_log", "http_log", capture=workbench.folder / "capture", output="out.pcap"
    )
    mapped = files(workbench, chain)
    assert files(workbench, chain, "-r", "-", source="cat capture") == mapped


def test_a_named_pipe_is_read_as_it_comes(workbench: Workbench, pieces: list[bytes]) -> None:
    fifo = workbench.folder / "fifo"
    os.mkfifo(fifo)
    run = workbench.start("run", workbench.chain(workbench.nf("tells", TELLS)), "-r", fifo)
    assert run.stdout is not None
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pieces[0] + pieces[1])
        assert run.stdout.readline() == "tells: packet 1\n"
        writer.write(b"".join(pieces[2:]))
    assert workbench.end(run).returncode == 0
    assert workbench.summary()["input"]["packets"] == len(pieces) - 1


def test_who_skips_reads_no_memory_that_is_used_for_other_packets(
    workbench: Workbench, demo: Path
) -> None:
    checks = """
KNOWN = (b"\\x08\\x00", b"\\x08\\x06", b"\\x86\\xdd", b"\\x81\\x00")

class Checks(NetworkFunction):
    handled = lost = 0
    @on("packet")
    def see(self, event):
        while not os.path.exists("go"):
            time.sleep(0.01)
        self.handled += 1
        assert event.frame[12:14] in KNOWN
    @on("system.lost")
    def count(self, event):
        self.lost += event.events
    def finish(self):
        return {"handled": self.handled, "lost": self.lost}
"""
    capture = workbench.folder / "long.pcap"
    capture.write_bytes(b"".join(rounds(demo.read_bytes(), times=5)))
    skips = {"nf": workbench.nf("checks", checks), "on_lag": "skip"}
    chain = workbench.chain(skips, "flow_log", input_window="4MiB", log={"slots": 4096})
    run = workbench.start(
        "run", chain, "-r", "-", "-q", prefix=["sh", "-c", 'cat long.pcap | "$@"', "sh"]
    )
    workbench.until(lambda: packets_received(workbench) > 2 * PACKETS)
    (workbench.folder / "go").touch()
    ended = workbench.end(run)
    assert ended.returncode == 0, ended.stderr
    summary = workbench.summary()
    found = next(nf for nf in summary["nfs"] if nf["name"] == "checks")["summary"]
    assert found["lost"] > 1000
    assert found["handled"] + found["lost"] == 5 * (PACKETS + FRAGMENTED)


def _with_comments(bytes_each: int, times: int) -> Iterator[bytes]:
    """A pcapng capture of short packets, each with so long a comment."""

    def block(kind: int, *parts: bytes) -> bytes:
        body = b"".join(parts)
        length = struct.pack("<I", len(body) + 12)
        return struct.pack("<I", kind) + length + body + length

    yield block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    yield block(1, struct.pack("<HHI", 1, 0, 0))
    comment = struct.pack("<HH", 1, bytes_each) + bytes(bytes_each)
    for number in range(times):
        yield block(6, struct.pack("<IIIII", 0, 0, number, 60, 60), bytes(60), comment, bytes(4))


def test_who_takes_batches_does_not_wait_for_more_than_the_window_holds(
    workbench: Workbench,
) -> None:
    counts = """
from microbox import on_batch

class Counts(NetworkFunction):
    packets = 0
    @on_batch("packet")
    def count(self, batch):
        self.packets += len(batch)
    def finish(self):
        return {"packets": self.packets}
"""
    packets = 1500
    capture = workbench.folder / "comments.pcapng"
    capture.write_bytes(b"".join(_with_comments(12_000, packets)))
    chain = workbench.chain(workbench.nf("counts", counts), input_window="4MiB")
    ended = workbench.run(
        "run", chain, "-r", "-", "-q", prefix=["sh", "-c", 'cat comments.pcapng | "$@"', "sh"]
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    summary = workbench.summary()
    assert summary["input"]["packets"] == packets
    assert summary["nfs"][0]["summary"] == {"packets": packets}


# --- silence ---


def test_time_goes_on_while_nothing_comes(workbench: Workbench, pieces: list[bytes]) -> None:
    chain = workbench.chain(workbench.nf("tells", TELLS), stack={"udp_unanswered_timeout": "300ms"})
    pipe = Pipe(workbench, chain, "-q")
    pipe.write(pieces[0] + pieces[1])
    assert pipe.said() == "tells: packet 1"
    assert pipe.said() == "tells: end timeout"
    ticks = len(workbench.wait_for(workbench.folder / "ticks"))
    workbench.until(lambda: len((workbench.folder / "ticks").read_text()) > ticks)
    assert pipe.run.poll() is None
    pipe.writer.close()
    assert workbench.end(pipe.run).returncode == 0


def test_who_waits_for_input_uses_no_processor(workbench: Workbench, pieces: list[bytes]) -> None:
    pipe = Pipe(workbench, workbench.chain("flow_log"), "-q")
    pipe.write(pieces[0] + pieces[1])
    workbench.until(lambda: packets_received(workbench))
    worker = workbench.worker()
    before = _ticks(worker)
    time.sleep(2)
    assert (_ticks(worker) - before) / os.sysconf("SC_CLK_TCK") < 0.4
    pipe.writer.close()
    assert workbench.end(pipe.run).returncode == 0


def _ticks(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_others_come_and_go_in_silence(workbench: Workbench, pieces: list[bytes]) -> None:
    pipe = Pipe(workbench, workbench.chain(workbench.nf("tells", TELLS)), "-q")
    pipe.write(pieces[0] + pieces[1])
    assert pipe.said() == "tells: packet 1"
    watch = workbench.start("watch", "packet", "-n", "1", "--json")
    workbench.until(lambda: "watch" in workbench.run("ps").stdout)
    pipe.write(pieces[2])
    shown = workbench.end(watch)
    assert json.loads(shown.stdout)["packet"] == 2, shown
    assert workbench.run("stop").returncode == 0
    ended = workbench.end(pipe.run)
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    assert workbench.summary()["input"]["packets"] == 2


# --- who writes ---


def test_what_comes_before_a_writer_dies_is_processed(
    workbench: Workbench, pieces: list[bytes]
) -> None:
    (workbench.folder / "cut").write_bytes(b"".join(pieces)[:-10])
    writer = "sh -c 'cat cut; kill -9 $$' | \"$@\""
    ended = workbench.run(
        "run", workbench.chain("flow_log"), "-r", "-", "-q", prefix=["sh", "-c", writer, "sh"]
    )
    assert ended.returncode == 0
    assert "inside the record that begins at byte" in ended.stderr
    assert workbench.summary()["input"]["packets"] == len(pieces) - 2


def _begun(workbench: Workbench, pieces: list[bytes]) -> Pipe:
    """All but the last packets have come."""
    pipe = Pipe(workbench, workbench.chain(workbench.nf("tells", TELLS)), "-q")
    pipe.write(b"".join(pieces[:-2]))
    pipe.wait_until_said(f"tells: packet {len(pieces) - 3}")
    return pipe


def test_ctrl_c_leaves_whoever_writes_the_time_to_end(
    workbench: Workbench, pieces: list[bytes]
) -> None:
    pipe = _begun(workbench, pieces)
    pipe.run.send_signal(signal.SIGINT)
    assert "stops: reading what is left" in pipe.noted()
    pipe.write(b"".join(pieces[-2:]))
    pipe.writer.close()
    assert workbench.end(pipe.run).returncode == 0
    assert workbench.summary()["input"]["packets"] == len(pieces) - 1
    assert workbench.summary()["ended"] == "finished"


def test_ctrl_c_ends_a_run_whose_writer_goes_on(workbench: Workbench, pieces: list[bytes]) -> None:
    pipe = _begun(workbench, pieces)
    pipe.run.send_signal(signal.SIGINT)
    assert "stops: reading what is left" in pipe.noted()
    ended = workbench.end(pipe.run)
    assert ended.returncode == 128 + signal.SIGINT
    assert workbench.summary()["input"]["packets"] == len(pieces) - 3
    assert workbench.summary()["ended"] == "interrupted"


def test_a_second_ctrl_c_ends_it_at_once(workbench: Workbench, pieces: list[bytes]) -> None:
    pipe = _begun(workbench, pieces)
    pipe.run.send_signal(signal.SIGINT)
    assert "stops: reading what is left" in pipe.noted()
    pipe.run.send_signal(signal.SIGINT)
    ended = workbench.end(pipe.run)
    assert ended.returncode == 128 + signal.SIGINT
    assert "ends at once" in ended.stderr
    assert workbench.processes() == {}


@pytest.fixture
def network() -> Iterator[list[str]]:
    """What runs a command in a network of its own, where only the loopback is."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "dumpcap"))):
        pytest.skip("needs root, unshare, ip and dumpcap")
    yield ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]


def test_dumpcap_writes_and_microbox_reads(workbench: Workbench, network: list[str]) -> None:
    asks = (
        "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "while True: s.sendto(b'hello', ('127.0.0.1', 9)); time.sleep(0.05)"
    )
    script = f"""python3 -c "{asks}" & asks=$!
{" ".join(PLAIN)} dumpcap -q -i lo -f 'udp port 9' -w - 2>/dev/null | "$@" & run=$!
wait $run; status=$?; kill $asks; exit $status"""
    chain = workbench.chain(workbench.nf("tells", TELLS), workers=1)
    run = workbench.start(
        "run", chain, "-r", "-", "-c", "20", prefix=[*network, "sh", "-c", script, "sh"]
    )
    ended = workbench.end(run)
    assert ended.returncode == 0, ended.stderr
    assert "tells: packet 20" in ended.stdout
    found = workbench.summary()["input"]
    assert (found["packets"], found["file"]) == (20, "standard input")
