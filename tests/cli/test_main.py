"""What holds for all verbs: help, version, exit statuses, no tracebacks."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Microbox = Callable[..., Any]


def test_the_version(microbox: Microbox) -> None:
    ran = microbox("--version")
    version = importlib.metadata.version("microbox")
    assert (ran.status, ran.out, ran.err) == (0, f"microbox {version}\n", "")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        ("--version", "cyclopts rich pydantic numpy ruamel microbox._core"),
        ("--help", "pydantic numpy ruamel zmq asyncio microbox._core microbox.chain.model"),
        ("--candidates top x", "cyclopts rich pydantic numpy ruamel zmq asyncio microbox._core"),
        ("ps", "rich pydantic numpy ruamel zmq asyncio microbox._core"),
        (
            "check chain.yaml",
            "numpy zmq asyncio ssl uvloop pygments microbox.api microbox.nf.runner",
        ),
    ],
)
def test_a_verb_loads_nothing_heavy_that_it_does_not_need(
    folder: Path, arguments: str, heavy: str
) -> None:
    (folder / "chain.yaml").write_text("input: sample.pcap\nchain: [flow_log]\n")
    program = (
        "import sys; from microbox.cli.main import main;"
        f"status = main({arguments.split()!r});"
        f"found = set({heavy.split()!r}) & set(sys.modules);"
        "sys.exit(', '.join(sorted(found)) or status)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_all_verbs(microbox: Microbox) -> None:
    ran = microbox("--help")
    assert ran.status == 0
    for verb in ("run", "check", "events", "nfs", "init"):
        assert f" {verb} " in ran.out


def test_no_arguments_are_a_question_for_help(microbox: Microbox) -> None:
    assert microbox().out == microbox("--help").out


@pytest.mark.parametrize("verb", [["check"], ["events"], ["nfs"], ["init", "nf"], ["run"]])
def test_each_verb_has_help(microbox: Microbox, verb: list[str]) -> None:
    ran = microbox(*verb, "--help")
    assert ran.status == 0
    assert ran.out.startswith(f"Usage: microbox {' '.join(verb)}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chek"], 'Did you mean "check"?'),
        (["check"], "requires an argument"),
        (["check", "chain.yaml", "--jsn"], "--json"),
        (["events", "--counts"], "--counts"),
    ],
)
def test_a_wrong_use_is_status_2(microbox: Microbox, arguments: list[str], words: str) -> None:
    ran = microbox(*arguments)
    assert ran.status == 2
    assert words in ran.out + ran.err
    assert "Traceback" not in ran.err


VERBS = ["--version", "events", "events --json", "nfs ids", "check chain.yaml"]
VERBS += ["run chain.yaml", "run chain.yaml --json"]


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_has_to_read_what_is_printed(folder: Path, verb: str) -> None:
    (folder / "chain.yaml").write_text("input: sample.pcap\nchain: [flow_log]\n")
    command = f"{Path(sys.executable).with_name('microbox')} {verb}"
    read_end, write_end = os.pipe()
    os.close(read_end)
    full = "error: the output cannot be written: No space left on device\n"
    for place, expected in (
        ("&-", (0, "")),
        (f"&{write_end}", (0, "")),
        ("/dev/full", (1, full)),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{command} >{place}"],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=(write_end,),
            check=False,
        )
        assert (done.returncode, done.stderr) == expected, place
    os.close(write_end)


def test_a_reader_that_has_seen_enough_is_no_error(folder: Path) -> None:
    script = Path(sys.executable).with_name("microbox")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{script} events | head -n 1"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
