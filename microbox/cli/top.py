"""`microbox top`: a chain that runs, as it goes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from microbox.cli.run_names import find_run

if TYPE_CHECKING:
    from microbox.cli.top_frame import Frame, Sample

QUIT = b"q"

Wait = Callable[[float], bool]
"""Waits for so many seconds; false: whoever looks has seen enough."""


def top(
    run: str = "",
    /,
    *,
    once: Annotated[bool, Parameter(negative=())] = False,
    interval: Annotated[float, Parameter(validator=validators.Number(gte=0.1, lte=3600))] = 1.0,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Show a chain that runs as it goes: its input, and what each stage and each NF does and takes.
    q or Ctrl-C ends it.

    Parameters
    ----------
    run
        Its name, as `microbox ps` shows it; may be left out where one chain runs.
    once
        Show one moment, and end. Rates are over one interval then, too.
    interval
        Seconds from one look to the next.
    json_
        Print a JSON object for each look, one a line.
    """
    found = find_run(run, "top")
    if isinstance(found, int):
        return found
    with contextlib.suppress(KeyboardInterrupt):
        _show(*found, _Looks(interval, is_one=once, is_json=json_))
    return 0


@dataclasses.dataclass(frozen=True)
class _Looks:
    """How often, and in what form."""

    interval: float
    is_one: bool
    is_json: bool


def _show(name: str, path: Path, looks: _Looks) -> None:
    from microbox.cli.terminal import console

    out = console()
    if looks.is_json:
        for each in _frames(name, path, looks, _sleep):
            print(json.dumps(dataclasses.asdict(each), ensure_ascii=False), flush=True)
    elif looks.is_one or not out.is_terminal or out.is_dumb_terminal:
        _print(_frames(name, path, looks, _sleep))
    else:
        with _keys() as wait:
            _live(_frames(name, path, looks, wait))


def _print(frames: Iterator[Frame]) -> None:
    from microbox.cli.terminal import console
    from microbox.cli.top_table import drawn

    out = console()
    for number, each in enumerate(frames):
        if number:
            out.print()
        out.print(drawn(each), soft_wrap=True)
        sys.stdout.flush()


def _live(frames: Iterator[Frame]) -> None:
    """On the whole screen, which is as before afterwards."""
    from rich.live import Live
    from rich.text import Text

    from microbox.cli.terminal import console
    from microbox.cli.top_table import drawn

    waiting = Text("q ends this")
    with Live(waiting, console=console(), screen=True, auto_refresh=False) as live:
        live.refresh()
        for each in frames:
            live.update(drawn(each), refresh=True)


def _frames(name: str, path: Path, looks: _Looks, wait: Wait) -> Iterator[Frame]:
    """One an interval, until the run is over or `wait` says so."""
    from microbox.cli.top_frame import frame

    before = _sample(path)
    while before is not None and wait(looks.interval):
        now = _sample(path)
        if now is None:
            break
        yield frame(name, before, now)
        if looks.is_one:
            return
        before = now
    if before is None or not path.exists():
        print(f"{name} is over", file=sys.stderr)


def _sample(path: Path) -> Sample | None:
    """None where the run is over."""
    from microbox.cli.top_frame import sample
    from microbox.runtime.control.control_socket import ControlError, ask

    status: dict[str, Any] = {}
    if path.exists():
        with contextlib.suppress(ControlError):
            status = ask(path, "status")
    return sample(status) if status else None


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True


@contextlib.contextmanager
def _keys() -> Iterator[Wait]:
    """Where there is a keyboard, keys end the wait: QUIT for good. They do not show."""
    if not sys.stdin.isatty():
        yield _sleep
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    try:
        yield functools.partial(_until_key, keyboard)
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _until_key(keyboard: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([keyboard], [], [], left)[0]:
            typed = os.read(keyboard, 64)
            if not typed or QUIT in typed:
                return False
    return True
