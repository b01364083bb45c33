"""Packed captures and standard input: `microbox run` writes what it writes for the plain file."""

import gzip
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

import microbox
from microbox.cli.reading import NOTE, WAITS

if TYPE_CHECKING:
    from tests.conftest import Workbench

PACKETS = 10_587  # of demo.pcap


@pytest.fixture
def chain(workbench: "Workbench", demo: Path) -> Path:
    return workbench.chain("flow_log", "http_log", "port_scan", capture=demo, output="out.pcap")


def written(workbench: "Workbench", *arguments: object, source: str = "") -> dict[str, bytes]:
    """All files of a run that reads the output of the shell command `source`, if any."""
    prefix = ["sh", "-c", f'{source} | "$@"', "sh"] if source else []
    result = workbench.run("run", *arguments, "-q", "-w", "logs", "--overwrite", prefix=prefix)
    assert (result.returncode, result.stderr) == (0, "")
    files = {file.name: file.read_bytes() for file in (workbench.folder / "logs").iterdir()}
    summary = json.loads(files.pop("summary.json"))
    del summary["input"]["file"]
    files["summary"] = json.dumps(summary).encode()
    return files | {"output": (workbench.folder / "out.pcap").read_bytes()}


def test_packed_or_piped_the_outputs_are_the_same(
    workbench: "Workbench", chain: Path, demo: Path
) -> None:
    packed = workbench.folder / "packed"
    plain = written(workbench, chain)
    assert len(plain["flow_log.jsonl"]) > 100_000
    packed.write_bytes(gzip.compress(demo.read_bytes()))
    assert written(workbench, chain, "-r", packed) == plain
    packed.write_bytes(zstandard.compress(demo.read_bytes()))
    assert written(workbench, chain, "-r", "-", source=f"cat {packed}") == plain


def test_a_packed_capture_that_was_cut_is_read_up_to_there(
    workbench: "Workbench", chain: Path, demo: Path
) -> None:
    packed = gzip.compress(demo.read_bytes())
    cut = workbench.folder / "cut.pcap.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    result = workbench.run("run", chain, "-r", cut, "-q")
    assert result.returncode == 0
    assert "inside the record that begins at byte" in result.stderr
    assert f"the gzip data end at byte {len(packed) // 2}, before their end" in result.stderr
    assert workbench.summary()["input"]["packets"] > 1000


def test_an_input_beyond_the_limit_is_refused_before_anything_starts(
    workbench: "Workbench", demo: Path
) -> None:
    chain = workbench.chain("flow_log", input_bytes_max="1MiB")
    (workbench.folder / "large").write_bytes(gzip.compress(demo.read_bytes()))
    for verb in ("run", "check"):
        result = workbench.run(verb, chain, "-r", "large")
        assert result.returncode == 2
        assert "more than 1.0 MiB, which is as much as `input_bytes_max` lets" in result.stderr


@pytest.mark.parametrize("gives_up", [False, True])
def test_ctrl_c_while_a_packed_pipe_is_read_ends_its_writer_and_a_second_one_gives_up(
    workbench: "Workbench", chain: Path, demo: Path, *, gives_up: bool
) -> None:
    pipe = workbench.folder / "pipe"
    os.mkfifo(pipe)
    prefix = ["sh", "-c", f'exec "$@" <{pipe}', "sh"]
    process = workbench.start("run", chain, "-r", "-", "-q", prefix=prefix)
    with pipe.open("wb", buffering=0) as writer:
        writer.write(gzip.compress(demo.read_bytes()))  # more than a pipe holds: it is being read
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert f"microbox: {NOTE}\n" in iter(process.stderr.readline, "")
        if gives_up:
            process.send_signal(signal.SIGINT)
            assert workbench.end(process).returncode == 130
            return
    assert workbench.end(process).returncode == 0
    assert workbench.summary()["input"]["packets"] == PACKETS


def test_a_run_whose_input_does_not_come_says_what_it_waits_for(
    workbench: "Workbench", chain: Path
) -> None:
    options = ["-r", "-", "-q", "--log-format", "json"]
    process = workbench.start("run", chain, *options, stdin=subprocess.PIPE)
    assert process.stderr is not None
    message = json.loads(process.stderr.readline())
    assert (message["level"], message["message"]) == ("notice", WAITS)
    assert workbench.end(process).returncode == 2  # and then there is none


def test_an_empty_standard_input_is_said(workbench: "Workbench", chain: Path) -> None:
    result = workbench.run("run", chain, "-r", "-")
    assert result.returncode == 2
    assert "standard input: expected a pcap or pcapng capture, found an empty file" in result.stderr


def test_a_packed_capture_gives_the_same_events_in_python(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "demo.pcap.gz").write_bytes(gzip.compress(demo.read_bytes()))
    plain = microbox.read(demo, "http.request")
    packed = microbox.read(tmp_path / "demo.pcap.gz", "http.request")
    assert len(plain) > 0
    assert packed["packet"].tolist() == plain["packet"].tolist()
    assert packed["host"].tolist() == plain["host"].tolist()
    ends = [event.packet for event in microbox.events(tmp_path / "demo.pcap.gz", "tcp.end")]
    assert ends == [event.packet for event in microbox.events(demo, "tcp.end")]


def test_standard_input_is_not_what_microbox_run_reads_in_python() -> None:
    with pytest.raises(microbox.RunError, match="standard input is the caller's"):
        microbox.run(["flow_log"], input="-")
