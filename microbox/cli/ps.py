"""`microbox ps`: the runs of this user."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from microbox.chain.units import format_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def ps(*, json_: Annotated[bool, Parameter(name="--json", negative=())] = False) -> int:
    """List the chains that run, and how far each is.

    Parameters
    ----------
    json_
        Print one JSON document.
    """
    from microbox.runtime.control.control_socket import ControlError, ask, running

    found: list[dict[str, Any]] = []
    for name, path in running().items():
        try:
            found.append({"name": name, **ask(path, "status")})
        except ControlError as error:
            print(f"{name}: {error}", file=sys.stderr)
    if json_:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    if not found:
        print("nothing runs")
        return 0
    _print(found)
    return 0


def _print(found: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from microbox.cli.memory_words import memory_in_words
    from microbox.cli.terminal import ROW_WIDTH, console
    from microbox.runtime.observer import how_much

    numbers = ("packets", "events")
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for column in ("name", "doing", "read", *numbers, "NFs"):
        table.add_column(column, justify="right" if column in numbers else "left")
    for run in found:
        size = run["file_size"]
        read = how_much(run["file_read"], size)
        nfs = ", ".join(dict.fromkeys(map(_label, run["nfs"])))
        counts = (f"{run[number]:,}" for number in numbers)
        table.add_row(*map(Text, (run["name"], run["doing"], read, *counts, nfs)))
        for worker in run["workers"] if len(run["workers"]) > 1 else []:
            read = how_much(worker["file_read"], size)
            counts = (f"{worker[number]:,}" for number in numbers)
            table.add_row(*map(Text, (f"  {worker['name']}", "", read, *counts, "")))
    out = console(pipe_width=ROW_WIDTH)
    out.print(table)
    for run in found:
        out.print(Text(f"\n{run['name']}: memory", style="bold"))
        out.print(Text(f"  {memory_in_words(run['memory'])}"), soft_wrap=True)
        _print_shadows(run, out)
        out.print(Text(f"\n{run['name']}: confinement of its NFs", style="bold"))
        out.print(_confinements(run["nfs"], has_workers=len(run["workers"]) > 1))


def _label(nf: dict[str, Any]) -> str:
    shadow = nf["shadow"]
    return f"{nf['name']} (in shadow)" if shadow and shadow["promoted"] is None else nf["name"]


def _print_shadows(run: dict[str, Any], out: Console) -> None:
    """What NFs in shadow would have done up to now."""
    from rich.text import Text

    from microbox.runtime.accounts.instances import shadow_of_all
    from microbox.runtime.accounts.report import ShadowReport

    by_name: dict[str, list[ShadowReport]] = {}
    for nf in run["nfs"]:
        if nf["shadow"]:
            by_name.setdefault(nf["name"], []).append(ShadowReport(**nf["shadow"]))
    if by_name:
        out.print(Text(f"\n{run['name']}: in shadow", style="bold"))
    for name, of_workers in by_name.items():
        shadow = shadow_of_all(of_workers)
        out.print(Text(f"  {name} {shadow.in_words if shadow else ''}"))


def _confinements(nfs: list[dict[str, Any]], *, has_workers: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 3, 0, 0))
    for nf in nfs:
        name = f"{nf['name']} of {nf['worker']}" if has_workers else nf["name"]
        attached = "attached; " if nf["attached"] else ""
        words = f"{attached}{_in_words(nf['in_force'])}"
        table.add_row(f"  {name}", str(nf["process"]), Text(words))
    return table


def _in_words(in_force: dict[str, Any]) -> str:
    """What is in force for an NF's process; "" where that is gone."""
    if not in_force:
        return ""
    limits = [f"at most {format_size(in_force['memory'])} of memory"] if in_force["memory"] else []
    if not in_force["sandbox"]:
        return ", ".join(["sandbox: off", *limits])
    parts = {
        f"landlock {in_force['landlock']}": in_force["landlock"],
        "seccomp": in_force["seccomp"],
        "no new privileges": in_force["no_new_privileges"],
        "undumpable": in_force["undumpable"],
    }
    words = [part if is_there else f"NO {part.split()[0]}" for part, is_there in parts.items()]
    words.append(f"user {in_force['user']}")
    words += [f"keeps {capability}" for capability in in_force["capabilities"]]
    return ", ".join([*words, *limits])
