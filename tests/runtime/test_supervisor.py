"""Children are started, watched and ended; whatever they do, the controller can say it."""

import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from microbox.channel.async_channel import AsyncChannel
from microbox.channel.channel import pair
from microbox.channel.messages import Begin, Failed, Manifest, Problem, Ready
from microbox.runtime.processes.foreign_process import ForeignProcess
from microbox.runtime.processes.supervisor import (
    UNKNOWN,
    Child,
    ChildBreaksProtocol,
    ChildDied,
    ChildFailed,
    ChildHangs,
    Exit,
    printable,
)
from microbox.runtime.processes.validation import from_child

PRELUDE = """\
import os, signal, sys, time
from microbox.channel.channel import Channel
from microbox.channel.datagram import encode
from microbox.channel.messages import *
sys.stdout.reconfigure(line_buffering=True)
channel = Channel.from_descriptor(int(sys.argv[1]))
"""

Lines = list[tuple[str, str, str]]


class Watched:
    """A child that runs a few lines of Python, and what was heard of it."""

    def __init__(self, folder: Path, code: str) -> None:
        """`code` runs with `channel` at hand."""
        (folder / "little_child.py").write_text(PRELUDE + code)
        self.lines: Lines = []
        self.problems: list[Problem] = []

    async def start(self) -> Child:
        return await Child.start(
            "little",
            "little_child",
            lambda name, stream, line: self.lines.append((name, stream, line)),
            lambda _, problem: self.problems.append(problem),
        )

    def run(self, talk: Callable[[Child], Awaitable[object]]) -> None:
        """Starts the child, talks to it, ends it."""

        async def run() -> None:
            child = await self.start()
            try:
                await talk(child)
            finally:
                await child.close()

        uvloop.run(run())


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


def test_an_answer_comes_back_and_problems_are_passed_on(tmp_path: Path) -> None:
    watched = Watched(
        tmp_path, "channel.receive(); channel.send(Problem('warning', 'w')); channel.send(Ready())"
    )

    async def talk(child: Child) -> None:
        await child.send(Begin())
        assert await child.expect(Ready, 10, "starting") == (Ready(), [])
        assert await child.exited() == Exit(0)

    watched.run(talk)
    assert watched.problems == [Problem("warning", "w")]


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("sys.exit(3)", ChildDied, "little exited with status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", ChildDied, "little was killed by SIGKILL"),
        ("channel.send(Failed('no rules'))", ChildFailed, "little failed: no rules"),
        ("time.sleep(60)", ChildHangs, "little hangs: no answer for 0.5 s while starting"),
        (
            "datagram = encode(Problem('warning', 'w'), [])\nwhile True:\n"
            "    os.write(channel.fileno(), datagram)",
            ChildHangs,
            "no answer for 0.5 s while starting",
        ),
        ("channel.close(); time.sleep(60)", ChildHangs, "no answer for 0.5 s while starting"),
        ("channel.send(Done())", ChildBreaksProtocol, "'done' while starting"),
        ("channel.send(Area(), [1])", ChildBreaksProtocol, "'area' while starting"),
        (
            "os.write(channel.fileno(), b'rubbish')",
            ChildBreaksProtocol,
            "is a map, not int|msgpack",
        ),
        ("channel.send(Load('a', 'b', {}))", ChildBreaksProtocol, "no child sends a 'load'"),
    ],
)
def test_each_way_not_to_answer_has_its_words(
    tmp_path: Path, code: str, error: type[Exception], words: str
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    async def talk(child: Child) -> None:
        deadline = 0.5 if error is ChildHangs else 30
        with pytest.raises(error, match=words):
            await child.expect(Ready, deadline, "starting")

    Watched(tmp_path, code).run(talk)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_a_child_prints_comes_line_by_line_with_its_name(tmp_path: Path) -> None:
    watched = Watched(
        tmp_path,
        "print('one'); print('two', end='', flush=True)\n"
        "print('\\x1b[2Jclear\\r', file=sys.stderr); os.write(1, b'\\xff\\n' + b'x' * 5000)",
    )

    async def talk(child: Child) -> None:
        await child.exited()

    watched.run(talk)
    assert [line for line in watched.lines if line[1] == "stdout"] == [
        ("little", "stdout", "one"),
        ("little", "stdout", "two\N{REPLACEMENT CHARACTER}"),
        ("little", "stdout", "x" * 4096),
        ("little", "stdout", "x" * 904),
    ]
    assert [line for line in watched.lines if line[1] == "stderr"] == [
        ("little", "stderr", "\N{REPLACEMENT CHARACTER}[2Jclear"),
    ]


def test_closing_ends_a_child_that_ignores_everything(tmp_path: Path) -> None:
    watched = Watched(
        tmp_path,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); channel.send(Ready()); time.sleep(600)",
    )
    seen: list[Child] = []

    async def talk(child: Child) -> None:
        seen.append(child)
        await child.expect(Ready, 30, "starting")

    watched.run(talk)
    assert seen[0].process.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{seen[0].process.pid}").exists()


def test_a_grandchild_that_holds_channel_and_pipes_holds_nothing_up(tmp_path: Path) -> None:
    watched = Watched(
        tmp_path,
        "grandchild = os.fork()\n"
        "if not grandchild: time.sleep(30); os._exit(0)\n"
        "print(grandchild); channel.send(Ready()); os.kill(os.getpid(), signal.SIGKILL)",
    )

    async def talk(child: Child) -> None:
        await child.expect(Ready, 30, "starting")
        with pytest.raises(ChildDied, match="SIGKILL"):
            await child.expect(Ready, 30, "running")

    watched.run(talk)
    os.kill(int(watched.lines[0][2]), signal.SIGKILL)


def test_an_exit_in_words() -> None:
    assert str(Exit(0)) == "exited with status 0"
    assert str(Exit(-signal.SIGSEGV)) == "was killed by SIGSEGV"
    assert str(Exit(-60)) == "was killed by signal 60"


def test_printable_keeps_text_and_tabs() -> None:
    assert printable("größe\tΔ 日本") == "größe\tΔ 日本"
    assert (
        printable("\x1b]0;title\x07")
        == "\N{REPLACEMENT CHARACTER}]0;title\N{REPLACEMENT CHARACTER}"
    )


def test_a_failed_answer_keeps_its_traceback(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        with pytest.raises(ChildFailed) as caught:
            await child.expect(Manifest, 30, "loading")
        assert caught.value.failed == Failed("boom", "Traceback", "try this")

    Watched(tmp_path, "channel.send(Failed('boom', 'Traceback', 'try this'))").run(talk)


def test_a_process_that_is_let_go_of_lives_on() -> None:
    async def run(process: "subprocess.Popen[bytes]") -> None:
        ours, theirs = pair()
        pidfd = os.pidfd_open(process.pid)
        foreign = ForeignProcess(process.pid, pidfd)
        child = Child("guest", foreign, AsyncChannel(ours, from_child), pidfd, _ignore)
        child.watch_exit()
        assert child.is_alive
        foreign.let_go()
        assert await child.exited() == Exit(UNKNOWN, is_known=False)
        await child.close()
        theirs.close()

    with subprocess.Popen(["sleep", "60"]) as process:
        uvloop.run(run(process))
        assert process.poll() is None
        process.kill()
    assert process.returncode == -signal.SIGKILL


def _ignore(_name: str, _problem: Problem) -> None:
    pass
