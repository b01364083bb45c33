"""The command line as a user runs it: a process of its own, in an empty directory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from microbox.testing import sample_capture

WIDE = {"COLUMNS": "120", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Microbox = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands run, with a small capture in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample.pcap").write_bytes(sample_capture().read_bytes())
    for name, value in WIDE.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def microbox(folder: Path) -> Microbox:
    """Runs `microbox` with some arguments."""

    def run(*arguments: str | Path) -> Ran:
        script = Path(sys.executable).with_name("microbox")
        done = subprocess.run(
            [script, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
