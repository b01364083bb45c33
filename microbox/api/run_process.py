"""Entry of the process that `microbox.run` starts: `python -P -m microbox.api.run_process PIPE`.

Reads a request (JSON) from its standard input; writes JSON lines into the pipe: what NFs print
({"print", "to"}), then how it ended ({"report", "output"} or {"error", "status", "detail"}).
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import uvloop

from microbox._core import lib
from microbox.chain.errors import ChainErrors
from microbox.chain.load import read_chain, read_chain_text
from microbox.chain.model import Chain, Input, Overrides
from microbox.channel.messages import Problem
from microbox.runtime.accounts.report import RunReport
from microbox.runtime.controller import run_chain
from microbox.runtime.descriptors import provide_descriptors
from microbox.runtime.errors import USAGE, InputError, RunError
from microbox.runtime.inputs.several_captures import open_input
from microbox.runtime.observer import Reading, Speaker
from microbox.runtime.outputs.log_directory import make_log_directory
from microbox.runtime.running import RunOptions

UNNAMED = "(chain)"
"""What a chain that is in no file is called."""


class Relay:
    """Tells the caller's process what is to be printed: an Observer."""

    def __init__(self, pipe: TextIO) -> None:
        """`pipe` stays the caller's."""
        self._pipe = pipe

    def say(self, said: dict[str, Any]) -> None:
        """One line of JSON."""
        self._pipe.write(json.dumps(said) + "\n")
        self._pipe.flush()

    def reading(self, reading: Reading) -> None:
        """Progress is not shown."""

    def line(self, speaker: Speaker, stream: str, line: str) -> None:
        """What an NF printed."""
        self.say({"print": f"{speaker.name}: {line}", "to": stream})

    def problem(self, speaker: Speaker, problem: Problem) -> None:
        """Problems are told as they come, and are in the report as well."""
        where = f" in {problem.handler}" if problem.handler else ""
        self.say(
            {"print": f"{problem.severity}: {speaker.name}{where}: {problem.error}", "to": "stderr"}
        )

    def note(self, text: str, _speaker: Speaker | None = None, /) -> None:
        """A sentence of the controller's."""
        self.say({"print": text, "to": "stderr"})


def main() -> int:
    """The run; 0 where it was reported, however it ended."""
    lib.mb_die_with_parent(os.getppid())
    lib.mb_become_undumpable()  # an NF of the same user must not reach the controller
    os.set_inheritable(int(sys.argv[1]), False)
    request = json.load(sys.stdin)
    with open(int(sys.argv[1]), "w", encoding="utf-8") as pipe:  # noqa: PTH123 (a descriptor)
        relay = Relay(pipe)
        try:
            relay.say(_run(request, relay))
        except ChainErrors as errors:
            relay.say({"error": str(_placed(errors)), "status": USAGE, "detail": ""})
        except RunError as error:
            relay.say({"error": str(error), "status": error.status, "detail": error.detail})
    return 0


def _run(request: dict[str, Any], relay: Relay) -> dict[str, Any]:
    chain = _chain(request)
    provide_descriptors(len(chain.nfs))
    if chain.input.is_piped:
        raise InputError("microbox.run reads files: standard input is the caller's")
    capture = open_input(chain.input, chain.input_bytes_max)
    try:
        directory = make_log_directory(Path(request["logs"]), overwrite=False)
    except OSError as error:
        raise RunError(f"{request['logs']}: {error.strerror}", status=USAGE) from None
    options = RunOptions(capture, directory, request["count"])
    report: RunReport = uvloop.run(run_chain(chain, options, relay))
    output = str(chain.output.absolute()) if chain.output else None
    return {"report": json.loads(report.to_json()), "output": output}


def _chain(request: dict[str, Any]) -> Chain:
    overrides = Overrides(
        input=Input((Path(request["input"]),)) if request["input"] is not None else None,
        output=Path(request["output"]) if request["output"] is not None else None,
    )
    if "path" in request:
        reading = read_chain(Path(request["path"]), overrides)
    else:
        reading = read_chain_text(request["text"], Path(UNNAMED), overrides)
    if reading.errors or reading.chain is None:
        raise ChainErrors(reading.errors)
    return reading.chain


def _placed(errors: ChainErrors) -> ChainErrors:
    """Without lines and columns of a text that nobody wrote."""
    return ChainErrors(
        dataclasses.replace(one, line=0, column=0) if one.file == UNNAMED else one
        for one in errors.errors
    )


if __name__ == "__main__":
    sys.exit(main())
