"""`microbox.run`: a whole chain, as `microbox run` runs it, and its results."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from microbox.api.results import Results, remove
from microbox.runtime.errors import FAILED, RunError

PROCESS = "microbox.api.run_process"
PATIENCE_SECONDS = 3
"""How long a run that is interrupted may take to end in order."""

Said = dict[str, Any]


def run(  # noqa: PLR0913 (what may be said of a run)
    chain: str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any],
    *,
    input: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    logs: str | os.PathLike[str] | None = None,
    count: int | None = None,
    check: bool = True,
    quiet: bool = False,
) -> Results:
    """Runs a chain on a capture, each NF in a confined process of its own, and returns its results.

        with microbox.run("chain.yaml", input="a.pcap") as results:
            results.summary["alerts"], results.logs["flow_log"].to_pandas()

    What NFs print is printed. Ctrl-C ends the run in order, within seconds, and raises
    KeyboardInterrupt; no process is left. Any number of runs may go on at once, in threads.

    Raises RunError: for a chain that is wrong, with all that is wrong with it; and, unless `check`
    is false, for a run that failed. Its `status` is the exit status of `microbox run`.

    Parameters
    ----------
    chain
        Path of a chain file; or what such a file holds, as a dict; or what stands under `chain` in
        one, as a list: ["flow_log", {"nf": "ids", "rules": "web.rules"}, "./my_nf.py"]. Paths in a
        dict or list count from the working directory.
    input
        Read this capture instead of the one that the chain names.
    output
        Write the packets that pass to this capture instead of the one that the chain names.
    logs
        Directory for the logs, made if it is missing; one that has files in it is kept, and a new
        one made beside it. None: a temporary one, which goes with the results.
    count
        Stop after so many packets.
    check
        Raise RunError for a run that failed.
    quiet
        Do not print what NFs print, nor warnings.
    """
    request = {
        **_chain_of(chain),
        "input": _text(input),
        "output": _text(output),
        "count": count or 0,
    }
    temporary = Path(tempfile.mkdtemp(prefix="microbox-")) if logs is None else None
    try:
        directory = str(temporary) if logs is None else os.fspath(logs)
        said = _result({**request, "logs": directory}, quiet)
        results = Results(said["report"], _path(said["output"]), temporary)
        if check and results.status:
            raise RunError(said["report"]["error"] or "the run failed", status=results.status)
    except BaseException:
        remove(temporary)
        raise
    return results


def _chain_of(chain: Any) -> dict[str, Any]:
    """A chain as a request has it. Raises TypeError."""
    if isinstance(chain, str | os.PathLike):
        return {"path": os.fspath(chain)}
    if isinstance(chain, Mapping):
        document: Any = dict(chain)
    elif isinstance(chain, Sequence):
        document = {"chain": list(chain)}
    else:
        raise TypeError(
            f"a chain is a path, a dict or a list, not {chain!r:.60}: "
            'microbox.run(["flow_log"], input="a.pcap")'
        )
    try:
        return {"text": json.dumps(document, indent=1, default=_written)}
    except ValueError as error:
        raise TypeError(f"a chain of plain values is expected: {error}") from None


def _written(value: Any) -> str:
    """Paths as text. Raises TypeError for what no file could say."""
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, type):
        raise TypeError(
            f"{value.__name__} is a class, and NFs of a run are loaded from files by processes of "
            f"their own: name its file, or run the class in this process with "
            f"microbox.testing.run_nf({value.__name__}, capture)"
        )
    raise TypeError(f"a chain is made of plain values, and {value!r:.60} is none")


def _text(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _result(request: dict[str, Any], quiet: bool) -> Said:
    """What the run's process says last. Raises RunError."""
    last: Said = {}
    with _process(request) as lines:
        for line in lines:
            said: Said = json.loads(line)
            if "print" in said:
                _relay(said, quiet)
            else:
                last = said
    if "error" in last:
        raise RunError(last["error"], status=last["status"], detail=last["detail"])
    if "report" not in last:
        raise RunError("the run's process ended without a word", status=FAILED)
    return last


def _relay(said: Said, quiet: bool) -> None:
    if not quiet:
        print(said["print"], file=sys.stderr if said["to"] == "stderr" else sys.stdout)


@contextlib.contextmanager
def _process(request: dict[str, Any]) -> Iterator[Iterator[str]]:
    """The lines that a run's process says, until it is gone; whatever happens, it is at the end.

    It has a session of its own, so that Ctrl-C in a terminal reaches it through this process alone.
    """
    ours, theirs = os.pipe()
    with open(ours, encoding="utf-8") as lines:  # noqa: PTH123 (a descriptor)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", PROCESS, str(theirs)],
                stdin=subprocess.PIPE,
                pass_fds=(theirs,),
                start_new_session=True,
                text=True,
            )
        finally:
            os.close(theirs)
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(json.dumps(request))
            yield iter(lines)
            process.wait()
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[str]) -> None:
    """In order, then at once, then by force."""
    for ask in (process.terminate, process.terminate, process.kill):
        ask()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_SECONDS)
            return
