"""`${NAME}` in values of chain files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from microbox.chain.load import load_chain, read_chain
from microbox.chain.model import Chain

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a chain of port_scan with this behind it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "capture.pcap").touch()

    def write(rest: str) -> Path:
        Path("chain.yaml").write_text(f"input: capture.pcap\nchain:\n  - nf: port_scan\n{rest}")
        return Path("chain.yaml")

    return write


def parameters(chain: Chain) -> dict[str, object]:
    return chain.nfs[0].parameters


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${X}", 50),
        ('"${X}"', "50"),
        ("${UNSET:-7}", 7),
        ("${UNSET:-}", ""),
        ("${EMPTY:-7}", 7),
        ("a${X}b${UNSET:-c}", "a50bc"),
        ("${LIST}", "[1, 2]"),
        ("${MAPPING}", "a: b"),
        ("${BROKEN}", "{"),
        ("${NESTED}", "${X}"),
        ("$${X}", "${X}"),
        ("^GET$", "^GET$"),
        ("$X", "$X"),
        ("$$", "$$"),
        ("[1, '${X}', {deep: '${X}0'}]", [1, "50", {"deep": "500"}]),
    ],
)
def test_what_becomes_of_a_value(
    write: Write, monkeypatch: pytest.MonkeyPatch, written: str, value: object
) -> None:
    for name, text in {
        "X": "50",
        "EMPTY": "",
        "LIST": "[1, 2]",
        "MAPPING": "a: b",
        "BROKEN": "{",
        "NESTED": "${X}",
    }.items():
        monkeypatch.setenv(name, text)
    assert parameters(load_chain(write(f"    threshold: {written}\n")))["threshold"] == value


def test_settings_and_paths_take_them_too(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOTS", "8192")
    monkeypatch.setenv("WHERE", "logs")
    chain = load_chain(write("log:\n  slots: ${SLOTS}\nlogs: {directory: '${WHERE}/run'}\n"))
    assert (chain.log_slots, chain.log_directory) == (8192, Path("logs/run"))


def test_keys_are_left_alone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "workers")
    [error] = read_chain(write('"${KEY}": 2\n')).errors
    assert "'${KEY}'" in error.message


def test_a_name_that_is_not_set_is_an_error_at_its_place(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THRESHOLD", raising=False)
    monkeypatch.delenv("WINDOW", raising=False)
    found = read_chain(write("    threshold: ${THRESHOLD}\n    window: a${WINDOW}\n")).errors
    assert [str(error) for error in found] == [
        "chain.yaml:4:16: the environment has no THRESHOLD; "
        "for a value without it: ${THRESHOLD:-VALUE}",
        "chain.yaml:5:14: the environment has no WINDOW; for a value without it: ${WINDOW:-VALUE}",
    ]


def test_nothing_more_is_said_of_what_is_not_known(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    rest = "workers: ${UNSET}\nlog:\n  slots: ${UNSET}\nstack:\n  hosts: ['${UNSET}']\n"
    assert len(read_chain(write(rest)).errors) == 3


def test_a_name_that_is_nearly_right_is_suggested(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_THRESHOLD", "5")
    [error] = read_chain(write("    threshold: ${MY_TRESHOLD}\n")).errors
    assert error.hint == "did you mean 'MY_THRESHOLD'?"


@pytest.mark.parametrize("written", ["${1X}", "${}", "${X", "${X:7}", "${a.b}"])
def test_what_is_no_name_is_an_error(write: Write, written: str) -> None:
    [error] = read_chain(write(f"    threshold: '{written}'\n")).errors
    assert (error.line, error.column) == (4, 17)
    assert "names no variable" in error.message
    assert "$${" in error.hint


def test_a_value_that_is_wrong_is_said_of_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", "many")
    [error] = read_chain(write("workers: ${WORKERS}\n")).errors
    assert (error.line, error.column) == (4, 10)
    assert "'many'" in error.message
