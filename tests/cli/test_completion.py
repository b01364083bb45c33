"""`microbox completion`, asked of real shells: what they offer after some words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from control_peers import control_sockets

from microbox.cli.candidates import VALUED
from microbox.cli.completion import Shell, script_for
from microbox.cli.main import INIT_VERBS, VERBS
from microbox.runtime.control.control_socket import ask

if TYPE_CHECKING:
    from tests.conftest import Workbench

Microbox = Callable[..., Any]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a file for each shell, named as it."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in get_args(Shell):
        (folder / shell).write_text(script_for(shell))
    (folder / "_microbox").symlink_to("zsh")  # the name under which zsh looks for it
    return folder


BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
completer=$(complete -p microbox | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$completer microbox "${COMP_WORDS[COMP_CWORD]}"
printf "%s\\n" "${COMPREPLY[@]}"
"""


def environment(**more: str) -> dict[str, str]:
    """Of a shell that finds `microbox`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **more}


def _offered_by_bash(script: Path, *words: str, env: dict[str, str] | None = None) -> list[str]:
    """What bash would show for the last word."""
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", script, "microbox", *words],
        env=env or environment(),
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
def test_fish_offers_verbs_and_nothing_else(folder: Path, scripts: Path) -> None:
    (folder / "chain.yaml").touch()
    assert _offered_by_fish(scripts / "fish", "microbox ") == {*VERBS, "init"}
    assert "chain.yaml" in _offered_by_fish(scripts / "fish", "microbox run ")
    assert _offered_by_fish(scripts / "fish", "microbox ps ") == set()


def _offered_by_fish(script: Path, line: str, env: dict[str, str] | None = None) -> set[str]:
    done = subprocess.run(
        ["fish", "--no-config", "-c", FISH, script, line],
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return {offered.split("\t")[0] for offered in done.stdout.splitlines()}


FISH = "source $argv[1]; complete --do-complete $argv[2]"

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
    [
        ("microbox rel", "microbox reload "),
        ("microbox run --ov", "microbox run --overwrite "),
        ("microbox watch tcp.gap", "microbox watch tcp.gap "),
        ("microbox attach port_sc", "microbox attach port_scan "),
    ],
)
def test_zsh_completes_however_it_learns_of_it(
    scripts: Path, learn: str, line: str, completed: str
) -> None:
    done = subprocess.run(
        ["zsh", "-f", "-c", ZSH, "zsh", learn.format(scripts), line],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert f"[{completed}]" in done.stdout


# --- names of what there is now ---

WAITS = """
class Waits(NetworkFunction):
    declares = {"tcp.waited": {"why": "text"}}
    publishes = ["tcp.waited"]

    @on("packet")
    def wait(self, event):
        while not os.path.exists("go"):
            time.sleep(0.01)
"""


@pytest.fixture
def running(workbench: Workbench) -> Iterator[Workbench]:
    """A run of a chain that waits."""
    run = workbench.start("run", workbench.chain("flow_log", workbench.nf("waits", WAITS)), "-q")
    path = workbench.until(lambda: next(iter(control_sockets(workbench)), None))
    workbench.until(lambda: ask(path, "status")["nfs"])
    yield workbench
    (workbench.folder / "go").touch()
    workbench.end(run)


def test_runs_their_nfs_and_types_are_offered(running: Workbench, scripts: Path) -> None:
    (number,) = (process.pid for process in running.started)
    name, env = f"chain.{number}", environment(**running.environment())
    env["PATH"] = environment()["PATH"]
    for line, expected in {
        "top ": {name},
        "watch --run ": {name},
        "stop cha": {name},
        "stop ids": set(),
        "detach ": {"flow_log", "waits"},
        "reload --run chain flo": {"flow_log"},
        "reload --run other ": set(),
        "watch tcp.wai": {"tcp.waited"},
        "watch --json flow.tcp.end": {"flow.tcp.end"},
        "events udp.st": {"udp.start"},
    }.items():
        words = line.split(" ")
        assert set(_offered_by_bash(scripts / "bash", *words, env=env)) == expected, line
        if shutil.which("fish"):
            assert _offered_by_fish(scripts / "fish", f"microbox {line}", env) == expected, line
    assert _offered_by_bash(scripts / "bash", "top", "--run", "=", "cha", env=env) == [name]
    if shutil.which("fish"):
        assert _offered_by_fish(scripts / "fish", "microbox watch --run=cha", env) == {
            f"--run={name}"
        }


def test_built_in_nfs_are_offered_beside_files(folder: Path, scripts: Path) -> None:
    (folder / "port.py").touch()
    assert set(_offered_by_bash(scripts / "bash", "attach", "port")) == {"port.py", "port_scan"}
    if shutil.which("fish"):
        offered = _offered_by_fish(scripts / "fish", "microbox attach port")
        assert offered == {"port.py", "port_scan"}


@pytest.mark.parametrize("words", [["top", ""], ["detach", ""], ["events", "tcp"], ["run", ""], []])
def test_whatever_is_wrong_is_not_said(
    microbox: Microbox, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Where a file is in the place of the directory of sockets, and where there are no words."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/null")
    assert microbox("--candidates", *words).err == ""


def test_options_with_values_are_those_that_cyclopts_knows(scripts: Path) -> None:
    (known,) = set(re.findall("options_with_values='([^']*)'", (scripts / "bash").read_text()))
    assert frozenset(known.split()) == VALUED


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_those_of_the_other_shells_name_all_verbs(scripts: Path, shell: str) -> None:
    text = (scripts / shell).read_text()
    for _, sentence in VERBS.values():
        assert sentence.replace("'", r"'\''") in text
