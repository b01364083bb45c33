"""`microbox init nf NAME`: something to begin with that works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microbox.cli.init import suggested_name

Microbox = Callable[..., Any]


def test_what_is_written(microbox: Microbox, folder: Path) -> None:
    ran = microbox("init", "nf", "my_nf", "--directory", "new")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        "Wrote new/my_nf.py, new/test_my_nf.py, new/chain.yaml, new/sample.pcap.\n\n"
        "  microbox run new/chain.yaml\n"
        "  pytest new/test_my_nf.py\n"
    )
    assert {path.name for path in (folder / "new").iterdir()} == {
        "my_nf.py",
        "test_my_nf.py",
        "chain.yaml",
        "sample.pcap",
    }


def test_its_test_passes(microbox: Microbox, folder: Path) -> None:
    assert microbox("init", "nf", "my_nf", "--directory", "new").status == 0
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "new"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_its_chain_runs(microbox: Microbox, folder: Path) -> None:
    assert microbox("init", "nf", "my_nf", "--directory", "new").status == 0
    assert microbox("check", "new/chain.yaml").status == 0
    ran = microbox("run", "new/chain.yaml", "-q")
    assert (ran.status, ran.err) == (0, "")
    (line,) = (folder / "microbox-logs" / "my_nf.jsonl").read_text().splitlines()
    assert json.loads(line)["bytes"] == 330
    (alert,) = (folder / "microbox-logs" / "alert_log.jsonl").read_text().splitlines()
    assert json.loads(alert)["message"] == "more than 100 bytes"


def test_it_is_well_formed(microbox: Microbox, folder: Path) -> None:
    assert microbox("init", "nf", "a_name_of_several_words").status == 0
    ruff = [sys.executable, "-P", "-m", "ruff", "--version"]
    if subprocess.run(ruff, capture_output=True, check=False).returncode != 0:
        pytest.skip("ruff is not installed")
    for check in (["check", "--select", "E,F,I,B"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff[:-1], *check, "--line-length", "100", "."],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_files_that_exist_are_kept(microbox: Microbox, folder: Path) -> None:
    (folder / "new").mkdir()
    (folder / "new" / "test_my_nf.py").write_text("mine\n")
    ran = microbox("init", "nf", "my_nf", "--directory", "new")
    assert (ran.status, ran.out, ran.err) == (
        2,
        "",
        "error: new/test_my_nf.py exists already; nothing was written\n",
    )
    assert [path.name for path in (folder / "new").iterdir()] == ["test_my_nf.py"]


def test_a_second_nf_beside_the_first(microbox: Microbox, folder: Path) -> None:
    assert microbox("init", "nf", "first", "--directory", "new").status == 0
    chain = (folder / "new" / "chain.yaml").read_bytes()
    ran = microbox("init", "nf", "second", "--directory", "new")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        "Wrote new/second.py, new/test_second.py.\n"
        "Kept new/chain.yaml: add ./second.py to its chain.\n\n"
        "  microbox run new/chain.yaml\n"
        "  pytest new/test_second.py\n"
    )
    assert (folder / "new" / "chain.yaml").read_bytes() == chain


def test_the_same_nf_again_is_refused(microbox: Microbox) -> None:
    assert microbox("init", "nf", "my_nf").status == 0
    ran = microbox("init", "nf", "my_nf")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == "error: my_nf.py exists already; nothing was written\n"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("BlockTelnet", "block_telnet"),
        ("block-telnet", "block_telnet"),
        ("my_nf.py", "my_nf"),
        ("class", "class_nf"),
        ("3com", "com"),
        ("../evil", "evil"),
        ("ünïcode", "n_code"),
        ("", ""),
    ],
)
def test_a_name_that_no_module_has(
    microbox: Microbox, folder: Path, name: str, suggestion: str
) -> None:
    assert suggested_name(name) == suggestion
    before = sorted(folder.iterdir())
    ran = microbox("init", "nf", name)
    assert ran.status == 2
    hint = f"; did you mean '{suggestion}'?" if suggestion else ""
    assert ran.err.endswith(f"is no name for a Python file of lower-case words joined by _{hint}\n")
    assert sorted(folder.iterdir()) == before


def test_the_name_of_a_built_in_nf(microbox: Microbox) -> None:
    ran = microbox("init", "nf", "ids")
    assert ran.err == "error: a built-in NF is called 'ids'; did you mean 'my_ids'?\n"
