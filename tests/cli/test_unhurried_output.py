"""Output that nobody waits for, through real pipes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from microbox.cli.unhurried_output import UnhurriedOutput

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_lines_come_as_they_are_handed_over(pipe: Pipe) -> None:
    output = UnhurriedOutput(pipe[1], lambda: None)
    assert output.put("one\n")
    assert os.read(pipe[0], 100) == b"one\n"
    assert output.put("two\n")
    assert output.close() == 0
    assert os.read(pipe[0], 100) == b"two\n"


def test_what_a_reader_is_too_slow_for_is_refused_and_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microbox.cli.unhurried_output.END_PATIENCE", 0.05)
    output = UnhurriedOutput(pipe[1], lambda: None, room=4)
    line = "x" * (1 << 20)  # more than a pipe holds
    taken = 0
    while output.put(line):
        taken += 1
    assert output.close() == taken


def test_that_nobody_reads_any_more_is_told_at_once(pipe: Pipe) -> None:
    told = threading.Event()
    output = UnhurriedOutput(pipe[1], told.set)
    os.close(pipe[0])
    output.put("one\n")
    assert told.wait(5)
    assert not output.put("two\n")
    with pytest.raises(BrokenPipeError):
        output.close()
