"""Several captures are one input: a run over them does what one over all in one file does."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from microbox.runtime.errors import InputError
from microbox.runtime.inputs.several_captures import files_of, open_several
from microbox.testing import Packet, Traffic, read_packets, tcp
from tests.conftest import Workbench

MOST = 1 << 20
FLOW = tcp("10.0.0.1:1234", "10.0.0.2:80").send(b"GET /" * 100, mss=50).reply(b"200").close()


def written(folder: Path, parts: Sequence[Sequence[Packet]]) -> list[Path]:
    """A capture each, named as tcpdump -C names them."""
    files = [folder / f"cap.pcap{number or ''}" for number in range(len(parts))]
    for file, packets in zip(files, parts, strict=True):
        Traffic(packets).write(file)
    return files


def cut(packets: Sequence[Packet], size: int) -> list[Sequence[Packet]]:
    return [packets[begin : begin + size] for begin in range(0, len(packets), size)]


def test_packets_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    files = written(tmp_path, cut(FLOW.traffic, 5))
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(files[1].read_bytes()))
    capture = open_several([files[0], packed, *files[2:]], MOST)
    assert read_packets(capture.fd) == list(FLOW.traffic)
    os.close(capture.fd)


def test_files_of_a_directory_come_by_name_with_numbers_by_value(tmp_path: Path) -> None:
    files = written(tmp_path, cut(FLOW.traffic, 1)[:12])
    (tmp_path / ".hidden").write_text("not read")
    (tmp_path / "below").mkdir()
    assert files_of([tmp_path]) == files
    assert files_of([files[3], tmp_path]) == [files[3], *files]


def test_a_run_over_a_directory_is_one_over_the_whole(workbench: Workbench) -> None:
    whole, parts = workbench.folder / "whole.pcap", workbench.folder / "parts"
    parts.mkdir()
    FLOW.traffic.write(whole)
    files = written(parts, cut(FLOW.traffic, 4))
    chain = workbench.chain("flow_log", capture=whole)
    logs = []
    for given in (["-r", whole], ["-r", parts], [x for file in files for x in ("-r", file)]):
        done = workbench.run("run", chain, *given, "-q", "--overwrite")
        assert (done.returncode, done.stderr) == (0, "")
        logs.append((workbench.folder / "microbox-logs" / "flow_log.jsonl").read_bytes())
    assert logs[0] == logs[1] == logs[2]
    assert workbench.summary()["input"]["file"] == ", ".join(map(str, files))


def refusal(files: Sequence[Path], most: int = MOST) -> str:
    with pytest.raises(InputError) as error:
        open_several(files, most)
    return str(error.value)


def test_a_capture_that_begins_before_the_last_one_ends_is_named(tmp_path: Path) -> None:
    first, second = written(tmp_path, [FLOW.traffic[:5], FLOW.traffic[5:]])
    said = refusal([second, first])
    assert said.startswith(f"{first} begins ")
    assert f"s before {second} ends; expected captures in the order of their times" in said


def test_a_capture_of_another_link_type_is_named(tmp_path: Path) -> None:
    first, second = written(tmp_path, [FLOW.traffic[:5], FLOW.traffic[5:]])
    octets = bytearray(second.read_bytes())
    octets[20:24] = (101).to_bytes(4, "little")
    second.write_bytes(octets)
    assert refusal([first, second]).startswith(
        f"{second}: packet 1 has link type 101, the input in front of it 1"
    )


def test_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    files = written(tmp_path, cut(FLOW.traffic, 5))
    said = refusal(files, files[0].stat().st_size + 10)
    assert said.startswith(f"{files[1]}: with those before it more than ")
    assert "input_bytes_max" in said


def test_a_file_that_ends_early_is_said_and_the_next_one_read(tmp_path: Path) -> None:
    first, second = written(tmp_path, [FLOW.traffic[:5], FLOW.traffic[5:]])
    first.write_bytes(first.read_bytes()[:-3])
    capture = open_several([first, second], MOST)
    assert capture.warning.startswith(f"{first}: ")
    assert read_packets(capture.fd) == [*FLOW.traffic[:4], *FLOW.traffic[5:]]
    os.close(capture.fd)


def test_what_is_no_capture_is_named(tmp_path: Path) -> None:
    first, second = written(tmp_path, [FLOW.traffic[:5], FLOW.traffic[5:]])
    second.write_text("notes")
    assert refusal([first, second]).startswith(f"{second}: ")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no files; expected captures"):
        files_of([tmp_path / "empty"])
    with pytest.raises(InputError, match="standard input is an input alone"):
        files_of([first, Path("-")])


def test_the_output_is_no_file_of_the_input(workbench: Workbench) -> None:
    parts = workbench.folder / "parts"
    parts.mkdir()
    first, _ = written(parts, [FLOW.traffic[:5], FLOW.traffic[5:]])
    chain = workbench.chain("flow_log", capture=parts, output=str(first))
    done = workbench.run("run", chain, "-q")
    assert (done.returncode, "is the input; expected another file" in done.stderr) == (2, True)
