"""`microbox events --live`: the hierarchy of event types of a chain that runs, as it goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from microbox.cli.event_rates import Look, Node, as_json, look, nodes
from microbox.cli.run_names import find_run
from microbox.cli.terminal import ROW_WIDTH, console, print_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PERIOD = 1.0  # seconds between two looks


def show_live(type: str, run: str, *, once: bool, as_document: bool) -> int:
    """Returns the exit status. It is shown once, too, where nobody looks on."""
    from microbox.cli.main import FAILED
    from microbox.runtime.control.control_socket import ControlError
    from microbox.runtime.errors import USAGE

    found = find_run(run, "events --live")
    if isinstance(found, int):
        return found
    name, control = found
    try:
        before = look(control)
        root = before.types.resolve(type or "event")
        time.sleep(PERIOD)
        now = look(control)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except ControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    if as_document:
        print_json(as_json(name, nodes(root, before, now), now.at - before.at))
        return 0
    out = console(pipe_width=ROW_WIDTH)
    if once or not out.is_terminal:
        out.print(table_of(nodes(root, before, now)))
        return 0
    return _follow(out, control, root.name, before, now)


def _follow(out: Console, control: Path, root: str, before: Look, now: Look) -> int:
    """Until Ctrl-C, or until the run is over."""
    from rich.live import Live

    from microbox.runtime.control.control_socket import ControlError

    with Live(console=out, auto_refresh=False) as live:
        try:
            while True:
                found = nodes(now.types.catalog.by_name[root], before, now)
                live.update(table_of(found), refresh=True)
                time.sleep(PERIOD)
                before, now = now, look(control)
        except (KeyboardInterrupt, ControlError):
            return 0


def table_of(found: Sequence[Node]) -> Table:
    """A row a type; events and rates with those below it, as in the tree of a run that is over."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title, side in (("type", "left"), ("events", "right"), ("a second", "right")):
        table.add_column(title, justify="right" if side == "right" else "left", no_wrap=True)
    table.add_column("published by")
    table.add_column("read by")
    for one in found:
        label = one.type.name if one.depth == 0 else one.type.name.rpartition(".")[2]
        table.add_row(
            Text(
                f"{'  ' * one.depth}{label}", style="dim cyan" if one.type.is_abstract else "cyan"
            ),
            Text(f"{one.total:,}", style="" if one.total else "dim"),
            Text(f"{one.rate:,.0f}", style="green" if one.rate else "dim"),
            Text(", ".join(one.publishers)),
            Text(", ".join(one.subscribers)),
        )
    return table
