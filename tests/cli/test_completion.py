"""`microbox completion`, asked of real shells: what they offer after some words."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from microbox.cli.completion import Shell, script_for
from microbox.cli.main import INIT_VERBS, VERBS

Microbox = Callable[..., Any]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a file for each shell, named as it."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in get_args(Shell):
        (folder / shell).write_text(script_for(shell))
    (folder / "_microbox").symlink_to("zsh")  # the name under which zsh looks for it
    return folder


def _offered_by_bash(script: Path, *words: str) -> list[str]:
    """What bash would show for the last word."""
    program = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; '
        'COMP_POINT=${#COMP_LINE}; _microbox microbox; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program, "bash", script, "microbox", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_verb_prints_it(microbox: Microbox, scripts: Path) -> None:
    ran = microbox("completion", "bash")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (scripts / "bash").read_text()


def test_a_shell_that_is_not_known_is_wrong_use(microbox: Microbox) -> None:
    ran = microbox("completion", "csh")
    assert ran.status == 2
    assert "bash" in ran.out + ran.err


def test_all_verbs_are_offered(scripts: Path) -> None:
    assert set(_offered_by_bash(scripts / "bash", "")) == {*VERBS, "init"}
    assert set(_offered_by_bash(scripts / "bash", "init", "")) == set(INIT_VERBS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ch"], {"check"}),
        (["run", "--ov"], {"--overwrite"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["attach", "nf.py", "--sandbox", ""], {"on", "off"}),
        (["attach", "nf.py", "--stage", "l"], {"last"}),
        (["doctor", "--j"], {"--json"}),
    ],
)
def test_options_and_their_values_are_offered(
    scripts: Path, words: list[str], expected: set[str]
) -> None:
    assert set(_offered_by_bash(scripts / "bash", *words)) == expected


def test_files_are_offered(folder: Path, scripts: Path) -> None:
    (folder / "chain.yaml").touch()
    assert _offered_by_bash(scripts / "bash", "run", "cha") == ["chain.yaml"]
    assert _offered_by_bash(scripts / "bash", "run", "-r", "sam") == ["sample.pcap"]


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_offers_the_same_verbs(scripts: Path) -> None:
    program = 'source $argv[1]; complete --do-complete "microbox "'
    done = subprocess.run(
        ["fish", "--no-config", "-c", program, scripts / "fish"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    offered = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert {*VERBS, "init"} <= offered


# A zsh of its own in a pseudo-terminal. $1: how it learns of the script; $2: the line, before TAB.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "show() { print -r -- \"[\$BUFFER]\"; BUFFER=; }; zle -N show; bindkey '^X' show"
zpty -w shell "PS1=; autoload -Uz compinit; $1; echo rea''dy"
zpty -r -m shell seen "*ready*"
zpty -w -n shell "$2"$'\t\C-x'
zpty -r -m shell seen "*\]*"
print -r -- $seen
zpty -d shell
"""


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
@pytest.mark.parametrize(
    "learn",
    ["compinit -u -D; source {0}/zsh", "fpath=({0} $fpath); compinit -u -D"],
    ids=["sourced", "in fpath"],
)
@pytest.mark.parametrize(
    ("line", "completed"),
    [("microbox rel", "microbox reload "), ("microbox run --ov", "microbox run --overwrite ")],
)
def test_zsh_completes_however_it_learns_of_it(
    scripts: Path, learn: str, line: str, completed: str
) -> None:
    done = subprocess.run(
        ["zsh", "-f", "-c", ZSH, "zsh", learn.format(scripts), line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert f"[{completed}]" in done.stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_those_of_the_other_shells_name_all_verbs(scripts: Path, shell: str) -> None:
    text = (scripts / shell).read_text()
    for _, sentence in VERBS.values():
        assert sentence.replace("'", r"'\''") in text
