"""What a run says of itself on stderr, as programs read it: JSON lines, or lines for the journal.

People get text (progress.py). Each message is written whole, by one call: several processes may
have the same stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from microbox.chain.errors import ChainError
from microbox.channel.messages import Problem
from microbox.cli.terminal import give_up
from microbox.runtime.processes.supervisor import printable

Format = Literal["text", "json", "journal"]
JOURNAL_STREAM = "JOURNAL_STREAM"
NOTHING: tuple[object, ...] = ("", None, [])
PRIORITIES = {"error": 3, "warning": 4, "notice": 5, "info": 6}
"""Levels, and what syslog calls them (sd-daemon(3))."""


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that is said. `details`: what belongs to it by name; what is empty is left out."""

    level: str  # one of PRIORITIES
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)


def of_line(name: str, stream: str, line: str) -> Message:
    """Of a line that an NF printed."""
    return Message("info", line, {"nf": name, "stream": stream})


def of_problem(name: str, problem: Problem) -> Message:
    """Of a problem that a child told of."""
    level = problem.severity if problem.severity in PRIORITIES else "error"
    details = {
        "nf": name,
        "handler": problem.handler,
        "event": printable(problem.event),
        "traceback": [printable(line) for line in problem.traceback.splitlines()],
    }
    return Message(level, printable(" ".join(problem.error.split())), details)


def of_chain_error(error: ChainError) -> Message:
    """Of what is wrong with a chain file."""
    place: dict[str, Any] = {"file": error.file, "hint": error.hint}
    if error.line:  # else it is about the file as a whole
        place |= {"line": error.line, "column": error.column}
    traceback = [printable(line) for line in error.detail.splitlines()]
    return Message("error", printable(error.message), {**place, "traceback": traceback})


def chosen(wanted: Format | None, environment: Mapping[str, str]) -> Format:
    """The format that is asked for; where none is, the journal's if stderr leads there."""
    if wanted is not None:
        return wanted
    device, _, inode = environment.get(JOURNAL_STREAM, "").partition(":")
    with contextlib.suppress(OSError):
        there = os.fstat(2)
        if (device, inode) == (str(there.st_dev), str(there.st_ino)):
            return "journal"
    return "text"


@dataclass(frozen=True, slots=True)
class MessageLog:
    """Writes messages of a run to stderr, in a format for programs."""

    format: Format
    chain: str  # the chain's file

    def write(self, message: Message) -> None:
        """At once. Nobody may be listening: the run goes on."""
        text = self._as_json(message) if self.format == "json" else _for_the_journal(message)
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except BrokenPipeError:
            give_up(sys.stderr)

    def _as_json(self, message: Message) -> str:
        details = {key: one for key, one in message.details.items() if one not in NOTHING}
        now = time.time_ns()
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
        record = {
            "time": f"{seconds}.{now // 1000 % 1_000_000:06}Z",
            "level": message.level,
            "message": message.text,
            "chain": self.chain,
            "pid": os.getpid(),
            **details,
        }
        return json.dumps(record) + "\n"


def _for_the_journal(message: Message) -> str:
    """The journal has the time, the unit and the process; lines each have their priority."""
    details = message.details
    where = f" in {details['handler']}()" if details.get("handler") else ""
    name = f"{details['nf']}{where}: " if details.get("nf") else ""
    if details.get("file"):
        place = [str(details[key]) for key in ("file", "line", "column") if key in details]
        name = f"{':'.join(place)}: "
    hint = f"; {details['hint']}" if details.get("hint") else ""
    lines = f"{name}{message.text}{hint}".splitlines()
    if details.get("event"):
        lines.append(f"  while handling {details['event']}")
    lines += [f"  {line}" for line in details.get("traceback", ())]
    return "".join(f"<{PRIORITIES[message.level]}>{line}\n" for line in lines)
