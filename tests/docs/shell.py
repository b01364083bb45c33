"""Runs the commands of a block in a shell, and compares what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROMPT = "$ "
CONTINUED = "> "
ANYTHING = "..."
FIGURE = r"\d[\d,.]*(?: ?(?:[KMG]?i?B|[mµn]?s)\b)?"  # with its unit, where it has one that varies
SECONDS_MAX = 60


@dataclass
class Command:
    """What is typed, and what is printed then; None where the page does not say."""

    line: str
    printed: str | None = None
    figures_differ: bool = False
    """What is printed has other figures each time, with other units."""

    def prints(self, printed: str) -> bool:
        """Whether this is what the page says, where it does."""
        return self.printed is None or matches(self.printed, printed, self.figures_differ)


def commands(language: str, text: str, *, figures_differ: bool = False) -> list[Command]:
    """Of a `sh` block, which is a script, or a `console` block, in which `$ ` is the prompt."""
    if language == "sh":
        return [Command(line) for line in _whole_lines(text)]
    found: list[Command] = []
    for line in text.splitlines():
        if line.startswith(PROMPT):
            found.append(Command(line.removeprefix(PROMPT), figures_differ=figures_differ))
        elif line.startswith(CONTINUED) and found and found[-1].printed is None:
            found[-1].line += "\n" + line.removeprefix(CONTINUED)
        else:
            assert found, f"a console block begins with '{PROMPT}': {line}"
            found[-1].printed = (found[-1].printed or "") + line + "\n"
    return found


def _whole_lines(text: str) -> Iterator[str]:
    whole = ""
    for line in text.splitlines():
        whole += line
        if line.endswith("\\"):
            whole += "\n"
        elif whole.strip():
            yield whole
            whole = ""


def matches(expected: str, printed: str, figures_differ: bool = False) -> bool:
    """Whether it was printed so; `...` stands for anything, and the width of gaps is free."""
    pattern = r".*".join(_pattern(part, figures_differ) for part in expected.split(ANYTHING))
    return re.fullmatch(rf"\s*{pattern}\s*", printed, re.DOTALL) is not None


def _pattern(text: str, figures_differ: bool) -> str:
    if not figures_differ:
        return r"\s+".join(map(re.escape, text.split()))
    between = (_pattern(part, figures_differ=False) for part in re.split(FIGURE, text))
    return rf"\s*{FIGURE}\s*".join(between)


@dataclass
class Shell:
    """A folder, and the environment of commands that run in it."""

    folder: Path

    def environment(self) -> dict[str, str]:
        path = f"{self.folder / '.stand-ins'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "XDG_RUNTIME_DIR": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "100",
        }

    def start(self, line: str) -> subprocess.Popen[str]:
        """Both outputs of it come mixed, as in a terminal."""
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: Command, status: int = 0) -> None:
        """Runs it to its end."""
        process = self.start(command.line)
        printed = self._end(process)
        assert process.returncode == status, f"$ {command.line}\n{printed}"
        assert command.prints(printed), (
            f"$ {command.line}\nexpected:\n{command.printed}\nprinted:\n{printed}"
        )

    def interrupt(self, command: Command, status: int = 0) -> None:
        """Runs it until it has printed what is expected; then comes Ctrl-C."""
        assert command.printed, f"nothing says when to interrupt: {command.line}"
        process = self.start(command.line)
        timer = threading.Timer(SECONDS_MAX, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        assert process.stdout is not None
        printed = ""
        while not matches(command.printed + ANYTHING, printed):
            line = process.stdout.readline()
            assert line, f"$ {command.line}\nexpected:\n{command.printed}\nprinted:\n{printed}"
            printed += line
        os.killpg(process.pid, signal.SIGINT)
        printed += self._end(process)
        timer.cancel()
        assert process.returncode == status, f"$ {command.line}\n{printed}"

    def _end(self, process: subprocess.Popen[str]) -> str:
        try:
            return process.communicate(timeout=SECONDS_MAX)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
