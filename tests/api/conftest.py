"""That nothing is left behind, and a process that is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.nf.conftest import capture

__all__ = ["capture"]

Interrupted = Callable[[str], str]


@pytest.fixture
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread, no descriptor, no child process and no temporary file is left by the test."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    yield
    assert set(threading.enumerate()) == threads
    assert open_descriptors() == descriptors
    assert not children()
    assert not list(temporary.iterdir())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


@pytest.fixture
def interrupted(tmp_path: Path) -> Interrupted:
    """Runs a script that prints "ready" and goes on, interrupts it; what it wrote to stderr.

    Whatever the script started is gone with it."""

    def run(script: str) -> str:
        environment = {**os.environ, "MICROBOX_MARK": str(tmp_path), "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
        assert not list(with_mark(str(tmp_path)))
        assert not list(tmp_path.glob("microbox-*/*.jsonl"))
        return errors

    return run


def with_mark(mark: str) -> Iterator[int]:
    """Processes that descend from the script."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MICROBOX_MARK={mark}\0".encode() in (process / "environ").read_bytes():
                yield int(process.name)
        except OSError:
            continue
