"""A run never writes over an earlier run's logs, unless told to."""

import json
from pathlib import Path

import pytest

from microbox.runtime.outputs.log_directory import make_log_directory, remove_if_empty


def test_it_is_made_with_its_parents(tmp_path: Path) -> None:
    made = make_log_directory(tmp_path / "a" / "b", overwrite=False)
    assert made == tmp_path / "a" / "b"
    assert made.is_dir()


def test_one_with_something_in_it_is_kept_and_another_made_beside_it(tmp_path: Path) -> None:
    for expected in ("logs", "logs.1", "logs.2"):
        made = make_log_directory(tmp_path / "logs", overwrite=False)
        (made / "flow_log.jsonl").write_text(expected)
        assert made == tmp_path / expected
    assert (tmp_path / "logs" / "flow_log.jsonl").read_text() == "logs"


def test_an_empty_one_is_taken(tmp_path: Path) -> None:
    assert make_log_directory(tmp_path, overwrite=False) == tmp_path


def test_a_file_of_that_name_is_kept_too(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("mine")
    assert make_log_directory(tmp_path / "logs", overwrite=False) == tmp_path / "logs.1"
    assert (tmp_path / "logs").read_text() == "mine"


def test_overwrite_removes_the_logs_of_a_run_and_nothing_else(tmp_path: Path) -> None:
    for name in ("old.jsonl", "mine.jsonl", "notes.txt"):
        (tmp_path / name).write_text("x")
    logs = {"old.jsonl": 1, "gone.jsonl": 2, "../elsewhere.jsonl": 3}
    (tmp_path / "summary.json").write_text(json.dumps({"logs": logs}))
    assert make_log_directory(tmp_path, overwrite=True) == tmp_path
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.jsonl", "notes.txt"]


def test_overwrite_where_there_was_no_run_removes_nothing(tmp_path: Path) -> None:
    for name in ("mine.jsonl", "summary.json"):
        (tmp_path / name).write_text("[1, 2]")
    make_log_directory(tmp_path, overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.jsonl", "summary.json"]


@pytest.mark.parametrize("written", ["", ".", "..", "../here"])
def test_a_directory_without_a_name_of_its_own_is_kept_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    here = tmp_path / "here"
    (here / "below").mkdir(parents=True)
    monkeypatch.chdir(here / "below" if written == ".." else here)
    assert make_log_directory(Path(written), overwrite=False).resolve() == tmp_path / "here.1"


def test_nothing_can_be_made_beside_the_root() -> None:
    with pytest.raises(FileExistsError):
        make_log_directory(Path("/"), overwrite=False)


def test_where_nothing_can_be_made_the_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        make_log_directory(tmp_path / "file" / "logs", overwrite=False)


def test_a_run_that_never_started_leaves_no_directory(tmp_path: Path) -> None:
    made = make_log_directory(tmp_path / "logs", overwrite=False)
    remove_if_empty(made)
    assert not made.exists()
