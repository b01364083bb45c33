"""`microbox doctor`: what works, and what mends what does not, on machines that really lack it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Microbox = Callable[..., Any]
Row = dict[str, str]
SCRIPT = Path(sys.executable).with_name("microbox")


def _by_name(out: str) -> dict[str, Row]:
    return {row["name"]: row for row in json.loads(out)}


def test_a_machine_that_runs_the_tests_runs_chains(microbox: Microbox) -> None:
    ran = microbox("doctor")
    assert (ran.status, ran.err) == (0, "")
    assert os.uname().release in ran.out
    for name in ("processors", "Landlock", "seccomp", "open files", "C compiler", "hyperscan"):
        assert name in ran.out
    assert "failure" not in ran.out


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """On one processor, with few open files, no compiler, a library that does not load and
    nowhere to put sockets."""
    folder = tmp_path_factory.mktemp("poor")
    (folder / "hyperscan.py").write_text("raise ImportError('built for another processor')\n")

    def impoverish() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (70, 70))
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])

    return subprocess.run(
        [SCRIPT, "doctor", "--json"],
        env={
            **os.environ,
            "CC": "no-such-compiler",
            "PYTHONPATH": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "missing"),
        },
        preexec_fn=impoverish,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "state", "found", "remedy"),
    [
        ("processors", "warning", "take turns", "taskset"),
        ("open files", "failure", "70: enough for 0 NFs", "ulimit -Hn 1024"),
        ("control sockets", "failure", "No such file or directory", "XDG_RUNTIME_DIR"),
        ("C compiler", "warning", "'no-such-compiler' cannot be run", "set CC to a C compiler"),
        ("hyperscan", "failure", "built for another processor", "pip install"),
    ],
)
def test_what_is_missing_is_named_with_what_mends_it(
    poor: subprocess.CompletedProcess[str], name: str, state: str, found: str, remedy: str
) -> None:
    row = _by_name(poor.stdout)[name]
    assert row["state"] == state
    assert found in row["found"]
    assert remedy in row["remedy"]


def test_a_failure_is_status_1(poor: subprocess.CompletedProcess[str]) -> None:
    assert (poor.returncode, poor.stderr) == (1, "")


def test_a_warning_is_status_0(microbox: Microbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    ran = microbox("doctor")
    assert ran.status == 0
    assert "→ set CC to a C compiler" in ran.out
    assert "chains run here; " in ran.out


def test_what_is_wrong_always_has_a_remedy(poor: subprocess.CompletedProcess[str]) -> None:
    rows = json.loads(poor.stdout)
    assert all(set(row) == {"name", "state", "found", "remedy"} for row in rows)
    assert all(row["remedy"] for row in rows if row["state"] != "ok")
