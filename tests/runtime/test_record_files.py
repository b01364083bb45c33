"""The files that the controller makes for NFs to write to."""

from __future__ import annotations

import os
from pathlib import Path

from microbox.channel.messages import Problem
from microbox.runtime.outputs.record_files import FIRST_LINES, RecordFiles


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
    files.close()
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_an_earlier_run_left_is_no_part_of_this_ones_log(tmp_path: Path) -> None:
    (tmp_path / "ids.1.part").write_bytes(b"old\n")
    files = RecordFiles(tmp_path, no_problem)
    write(files, "ids.1.part", b"")
    assert (tmp_path / "ids.1.part").read_bytes() == b""


def test_a_log_whose_file_was_moved_goes_on_in_a_new_one(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, no_problem)
    write(files, "ids.jsonl", b"one\n")
    assert files.renew() == set(), "it is where it was"
    (tmp_path / "ids.jsonl").rename(tmp_path / "ids.jsonl.1")
    assert files.renew() == {"ids.jsonl"}
    write(files, "ids.jsonl", b"two\n")
    assert (tmp_path / "ids.jsonl.1").read_bytes() == b"one\n"
    assert (tmp_path / "ids.jsonl").read_bytes() == b"two\n"
    files.close()


def test_a_part_that_was_moved_goes_on_in_a_new_one(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, no_problem)
    write(files, "ids.1.part", b"one\n")
    (tmp_path / "ids.1.part").rename(tmp_path / "ids.1.part.1")
    assert files.renew() == {"ids.1.part"}
    write(files, "ids.1.part", b"two\n")
    assert (tmp_path / "ids.1.part.1").read_bytes() == b"one\n"
    assert (tmp_path / "ids.1.part").read_bytes() == b"two\n"
    files.close()


def test_the_first_lines_of_a_log_are_known_wherever_its_files_are(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, no_problem)
    log = tmp_path / "ids.jsonl"
    for number in range(4):
        write(files, "ids.jsonl", b"".join(b"%d.%d\n" % (number, line) for line in range(4)))
        log.unlink()
        files.renew()
    files.settle("ids.jsonl")
    files.settle("ids.jsonl")
    expected = [b"%d.%d\n" % (line // 4, line % 4) for line in range(FIRST_LINES)]
    assert files.earlier_lines("ids.jsonl") == expected
    files.close()


def test_a_line_that_a_process_died_in_is_cut_off_in_the_file_that_it_had(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, no_problem)
    with files.opened("ids", "ids.jsonl") as descriptors:
        (tmp_path / "ids.jsonl").rename(tmp_path / "ids.jsonl.1")
        files.renew()
        os.write(descriptors[0], b"one\nhal")
    files.cut("ids.jsonl")
    write(files, "ids.jsonl", b"half\n")
    assert (tmp_path / "ids.jsonl.1").read_bytes() == b"one\n"
    assert (tmp_path / "ids.jsonl").read_bytes() == b"half\n"
    files.close()


def test_a_log_that_cannot_be_made_anew_goes_on_as_it_was(tmp_path: Path) -> None:
    problems: list[str] = []
    files = RecordFiles(tmp_path, lambda _, problem: problems.append(problem.error))
    write(files, "ids.jsonl", b"one\n")
    log = tmp_path / "ids.jsonl"
    log.rename(tmp_path / "ids.jsonl.1")
    log.mkdir()
    assert files.renew() == set()
    assert problems == [f"{log} cannot be written: Is a directory; lines are lost"]
    log.rmdir()
    assert files.renew() == {"ids.jsonl"}
    files.close()


def test_who_leaves_without_a_word_leaves_no_file_and_may_come_again(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, no_problem)
    write(files, "watch.jsonl", b"")
    files.release("watch.jsonl")
    assert list(tmp_path.iterdir()) == []
    write(files, "watch.jsonl", b"one\n")
    files.release("watch.jsonl")
    assert (tmp_path / "watch.jsonl").read_bytes() == b"one\n"
    files.close()


def test_a_file_that_was_there_before_stays_when_nobody_writes_to_it(tmp_path: Path) -> None:
    (tmp_path / "watch.jsonl").touch()
    files = RecordFiles(tmp_path, no_problem)
    write(files, "watch.jsonl", b"")
    files.release("watch.jsonl")
    files.close()
    assert (tmp_path / "watch.jsonl").exists()


def test_a_log_that_nobody_writes_any_more_takes_no_descriptors(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, no_problem)
    before = len(list(Path("/proc/self/fd").iterdir()))
    write(files, "ids.jsonl", b"one\n")
    (tmp_path / "ids.jsonl").rename(tmp_path / "ids.jsonl.1")
    files.renew()
    write(files, "ids.jsonl", b"two\n")
    files.release("ids.jsonl")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert files.renew() == set()
    assert files.earlier_lines("ids.jsonl") == [b"one\n"]
    write(files, "ids.jsonl", b"three\n")
    assert (tmp_path / "ids.jsonl").read_bytes() == b"two\nthree\n"
    files.close()
