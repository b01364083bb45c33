"""`microbox events`: the hierarchy of event types, and how many of each a run had, or has now."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from microbox.cli.event_sums import sums

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from microbox.events.catalog import Catalog, EventType, Field

SUMMARY = "summary.json"
LOG_DIRECTORIES = "microbox-logs*"


@Parameter(name="*")
@dataclass(frozen=True)
class OfRun:
    """Of a chain that runs."""

    live: Annotated[bool, Parameter(negative=())] = False
    """Of a chain that runs: how many of each came, how many a second, who publishes and who reads
    them. Goes on until Ctrl-C or the end of the run."""

    once: Annotated[bool, Parameter(negative=())] = False
    """With --live: show it once, after a second."""

    run: str = ""
    """With --live: the run, as `microbox ps` shows it, or the name of the chain file without its
    ending. May be left out where one chain runs."""


def events(
    type: str = "",
    /,
    *,
    of_run: OfRun = OfRun(),
    counts: Path | None = None,
    chain: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show the event types as a tree, or one of them with its payload.

    After a run in this directory the counts of the newest one are shown as well.

    Parameters
    ----------
    type
        A type, such as tcp.data or http.request: it, its fields, and all below it.
    counts
        Show the counts of this run: its log directory, or its summary.json.
    chain
        Show the types that the NFs of this chain declare, too.
    json
        Print one JSON document.
    """
    from microbox.cli.main import FINE
    from microbox.cli.terminal import console, print_json
    from microbox.events.catalog import UnknownEventType

    if mistake := _mistake(of_run, counts, chain):
        return _fail(mistake)
    if of_run.live:
        from microbox.cli.live_events import show_live

        return show_live(type, of_run.run, once=of_run.once, as_document=json)
    catalog = _catalog(chain)
    try:
        root = catalog.resolve(type) if type else catalog.by_number(0)
    except UnknownEventType as error:
        return _fail(str(error))
    source = counts or newest_summary(Path())
    try:
        counted = read_counts(source) if source else {}
    except (OSError, ValueError) as error:
        return _fail(f"{source}: no counts there: {error}")
    if json:
        print_json(as_json(catalog, root, counted, source))
        return FINE
    out = console()
    if type:
        _print_type(out, catalog, root, counted)
    else:
        out.print(_tree(catalog, root, sums(counted) if source else None))
    if source:
        out.print(f"[dim]counts of {source}[/dim]")
    return FINE


def _mistake(of_run: OfRun, counts: Path | None, chain: Path | None) -> str:
    """What of the options does not go together; "" where all does."""
    if of_run.live and (counts or chain):
        return "--live has counts and types of its own; expected neither --counts nor --chain"
    if not of_run.live and (of_run.once or of_run.run):
        return "--once and --run are about a chain that runs; expected --live beside them"
    return ""


def _fail(message: str) -> int:
    import sys

    from microbox.cli.main import WRONG

    print(f"error: {message}", file=sys.stderr)
    return WRONG


def _catalog(chain: Path | None) -> Catalog:
    from microbox.events.catalog import built_in

    if chain is None:
        return built_in()
    from microbox.chain.describe import describe_all
    from microbox.chain.prepare import prepare
    from microbox.runtime.processes.validation import from_child

    return prepare(chain, partial(describe_all, decode=from_child)).catalog


def newest_summary(directory: Path) -> Path | None:
    """The summary of the newest run whose logs lie in `directory`."""
    found = directory.glob(f"{LOG_DIRECTORIES}/{SUMMARY}")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def read_counts(source: Path) -> dict[str, int]:
    """Counts by full name, from a log directory or its summary. Raises OSError, ValueError."""
    path = source / SUMMARY if source.is_dir() else source
    summary = json_module.loads(path.read_text(encoding="utf-8"))
    counted = summary.get("events") if isinstance(summary, dict) else None
    if not isinstance(counted, dict):
        raise ValueError("it is not the summary of a run")
    return {str(name): int(count) for name, count in counted.items()}


def as_json(
    catalog: Catalog, root: EventType, counted: Mapping[str, int], source: Path | None
) -> dict[str, Any]:
    """Stable keys (docs/guide/cli.md)."""
    return {
        "counts_from": str(source) if source else None,
        "types": [
            {
                "number": one.number,
                "name": one.name,
                "parent": one.parent.name if one.parent else None,
                "producer": one.producer,
                "payload": one.payload,
                "doc": one.doc,
                "condition": one.condition,
                "fields": [
                    {
                        "name": each.name,
                        "type": each.type_name,
                        "doc": each.doc,
                        "declared_by": each.owner,
                    }
                    for each in one.fields
                ],
                "count": counted.get(one.name, 0) if source else None,
            }
            for one in catalog.descendants(root)
        ],
    }


def _new_fields(one: EventType) -> list[Field]:
    """Those that its parent has not."""
    inherited = {each.name for each in one.parent.fields} if one.parent else set()
    return [each for each in one.fields if each.name not in inherited]


def _tree(catalog: Catalog, root: EventType, totals: Mapping[str, int] | None) -> Tree:
    from rich.tree import Tree

    tree = Tree(_line(root, totals, root.name), guide_style="dim")
    branches = {root.number: tree}
    for one in catalog.descendants(root):
        if one is root or one.parent is None:
            continue
        label = one.name.rpartition(".")[2]
        branches[one.number] = branches[one.parent.number].add(_line(one, totals, label))
    return tree


def _line(one: EventType, totals: Mapping[str, int] | None, label: str) -> Any:
    from rich.text import Text

    line = Text(label, style="dim cyan" if one.is_abstract else "bold cyan")
    if totals is not None:
        line.append(f"  {totals.get(one.name, 0):,}", style="green")
    line.append(f"  {one.doc}", style="default")
    if one.is_derived:
        line.append(f"  where {one.condition}", style="magenta")
    fields = ", ".join(each.name for each in _new_fields(one))
    if fields:
        line.append(f"  {fields}", style="yellow")
    if not one.is_abstract:
        line.append(f"  ({one.producer})", style="dim")
    return line


def _print_type(out: Console, catalog: Catalog, one: EventType, counted: Mapping[str, int]) -> None:
    from rich.markup import escape
    from rich.table import Table

    out.print(f"[bold cyan]{one.name}[/bold cyan]")
    out.print(one.doc)
    out.print(f"[dim]published by[/dim] {escape(_who(one))}")
    if one.fields:
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
        for title in ("field", "type", "from", ""):
            table.add_column(title)
        for each in one.fields:
            table.add_row(each.name, each.type_name, each.owner, each.doc)
        out.print()
        out.print(table)
    if len(catalog.descendants(one)) > 1 or counted:
        out.print()
        out.print(_tree(catalog, one, sums(counted) if counted else None))


def _who(one: EventType) -> str:
    if one.is_abstract:
        return "nobody: subscribe to it to get all below it"
    if one.is_derived:
        who = "the stack" if one.is_by_stack else "who publishes its parent"
        return f"{who}, where {one.condition}"
    if one.parser:
        return f"the parser {one.parser}, which is added when somebody subscribes to it"
    if one.is_by_stack:
        return f"the stack ({one.producer})"
    return "NFs"
