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
from microbox.nf.record_schema import DIALECT, object_schema
from microbox.runtime.control.control_socket import run_name
from microbox.runtime.observer import Speaker
from microbox.runtime.partition import WORKER
from microbox.runtime.processes.supervisor import printable

Format = Literal["text", "json", "journal"]
JOURNAL_STREAM = "JOURNAL_STREAM"
NOTHING: tuple[object, ...] = ("", None, [])

FIELDS = {
    "time": "text: when it was said, in UTC",
    "level": "text: how much it matters",
    "message": "text: what there is to say",
    "chain": "text: the chain file",
    "run": "text: the run's name, as in `microbox ps`",
    "pid": "u32: the controller's process",
    "nf": "text?: the NF that it is about",
    "stage": "u32?: of that NF in the chain's plan",
    "worker": "text?: the worker that it is about, or whose packets that NF sees",
    "stream": "text?: where the NF printed it",
    "handler": "text?: in which it happened",
    "event": "text?: on which it happened",
    "traceback": "texts?: line by line",
    "file": "text?: that is wrong",
    "line": "u32?: in it",
    "column": "u32?: in the line",
    "hint": "text?: what may have been meant",
}
"""Of a message in JSON, in the notation of an NF's `records`."""

PRIORITIES = {"error": 3, "warning": 4, "notice": 5, "info": 6}
"""Levels, and what syslog calls them (sd-daemon(3))."""


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that is said. `details`: what belongs to it by name; what is empty is left out."""

    level: str  # one of PRIORITIES
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    opening: str = ""  # of its line in the journal: who says it


def message_schema() -> dict[str, Any]:
    """The JSON Schema of a message in JSON, a document of its own."""
    schema = object_schema(FIELDS)
    of = schema["properties"]
    of["time"]["pattern"] = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"
    of["level"]["enum"] = [*PRIORITIES]
    of["stream"]["enum"] = ["stdout", "stderr"]
    return {"$schema": DIALECT, "title": "A message of a run", **schema}


def of_line(speaker: Speaker, stream: str, line: str) -> Message:
    """Of a line that an NF printed."""
    opening = f"{_in_words(speaker)}: "
    return Message("info", line, {**_about(speaker), "stream": stream}, opening)


def of_note(text: str, speaker: Speaker | None) -> Message:
    """Of a sentence of the controller's, which may begin with its level."""
    level, _, rest = text.partition(": ")
    about = _about(speaker) if speaker else {}
    if level in PRIORITIES:
        return Message(level, rest, about)
    return Message("notice", text, about)


def _about(speaker: Speaker) -> dict[str, Any]:
    nf = speaker.name if speaker.is_nf else ""
    return {"nf": nf, "stage": speaker.stage, "worker": speaker.worker}


def _in_words(speaker: Speaker) -> str:
    is_one_of_several = speaker.is_nf and speaker.worker not in ("", WORKER)
    return f"{speaker.name} of {speaker.worker}" if is_one_of_several else speaker.name


def of_problem(speaker: Speaker, problem: Problem) -> Message:
    """Of a problem that a child told of."""
    where = f" in {problem.handler}()" if problem.handler else ""
    opening = f"{_in_words(speaker)}{where}: "
    level = problem.severity if problem.severity in PRIORITIES else "error"
    details = {
        **_about(speaker),
        "handler": problem.handler,
        "event": printable(problem.event),
        "traceback": [printable(line) for line in problem.traceback.splitlines()],
    }
    return Message(level, printable(" ".join(problem.error.split())), details, opening)


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
            "run": run_name(self.chain, os.getpid()),
            "pid": os.getpid(),
            **details,
        }
        return json.dumps(record) + "\n"


def _for_the_journal(message: Message) -> str:
    """The journal has the time, the unit and the process; lines each have their priority."""
    details = message.details
    name = message.opening
    if details.get("file"):
        place = [str(details[key]) for key in ("file", "line", "column") if key in details]
        name = f"{':'.join(place)}: "
    hint = f"; {details['hint']}" if details.get("hint") else ""
    lines = f"{name}{message.text}{hint}".splitlines()
    if details.get("event"):
        lines.append(f"  while handling {details['event']}")
    lines += [f"  {line}" for line in details.get("traceback", ())]
    return "".join(f"<{PRIORITIES[message.level]}>{line}\n" for line in lines)
