"""The files that the controller makes for NFs to write to."""

from __future__ import annotations

import os
from pathlib import Path

from microbox.channel.messages import Problem
from microbox.runtime.record_files import RecordFiles


def no_problem(name: str, problem: Problem) -> None:
    raise AssertionError(f"{name}: {problem.error}")


def write(files: RecordFiles, file: str, line: bytes) -> None:
    with files.opened("ids", file) as descriptors:
        os.write(descriptors[0], line)


def test_a_process_goes_on_behind_what_another_one_has_written(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, no_problem)
    write(files, "ids.1.part", b"one\n")
    write(files, "ids.1.part", b"two\n")
    assert (tmp_path / "ids.1.part").read_bytes() == b"one\ntwo\n"


def test_what_nobody_has_written_to_is_removed(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, no_problem)
    write(files, "ids.jsonl", b"")
    files.remove_empty()
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_an_earlier_run_left_is_no_part_of_this_ones_log(tmp_path: Path) -> None:
    (tmp_path / "ids.1.part").write_bytes(b"old\n")
    files = RecordFiles(tmp_path, no_problem)
    write(files, "ids.1.part", b"")
    assert (tmp_path / "ids.1.part").read_bytes() == b""
