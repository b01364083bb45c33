"""Writes the pages of the reference that follow from the tables: events, reasons, counters;
and from the sources themselves: the NFs, the Python API, the command line, chain files, the C
headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import c_reference
import chain_reference
import cli_reference
import nf_reference
import python_reference
from tables import table

from microbox.events.catalog import Catalog, EventType, built_in

COUNTERS = Path(__file__).parents[1] / "microbox" / "stack" / "counters.def"
COUNTER = re.compile(r'^COUNTER\((\w+), "([^"]+)"\)', re.MULTILINE)


def write(folder: Path) -> None:
    """Makes a page each in `folder`, where its text changed."""
    folder.mkdir(exist_ok=True)
    catalog = built_in()
    pages = {"events": events(catalog), "reasons": reasons(catalog), "counters": counters()}
    pages["nfs"] = nf_reference.nfs()
    pages["python"] = python_reference.python()
    pages["cli"] = cli_reference.cli()
    pages["chain"] = chain_reference.chain()
    pages["c"] = c_reference.c()
    for name, lines in pages.items():
        text = "\n".join(lines) + "\n"
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def tree(catalog: Catalog, parent: EventType, depth: int = 0) -> Iterator[str]:
    """A list with the last part of each name, children below their parent."""
    name = parent.name.rpartition(".")[2]
    yield f"{'  ' * depth}* {link(parent, name)}: {parent.doc}"
    for child in catalog.types:
        if child.parent is parent:
            yield from tree(catalog, child, depth + 1)


def link(event_type: EventType, text: str) -> str:
    """To its section of the page."""
    return f"[{text}](#{event_type.name.replace('.', '')})"


def events(catalog: Catalog) -> Iterator[str]:
    """The tree, then a section a type with its fields."""
    yield from ("# Events", "", "A subscription to a type gets all types below it.", "")
    yield from (*tree(catalog, catalog.types[0]), "")
    for event_type in catalog.types:
        yield from (f"## {event_type.name}", "", event_type.doc, "")
        yield from (f"Published by: {producer(event_type)}.", "")
        yield from fields(event_type)


def fields(event_type: EventType) -> Iterator[str]:
    """Those that it adds; for the others, where they are."""
    above = event_type.parent
    while above and above.parent and above.fields == above.parent.fields:
        above = above.parent
    inherited = above.fields if above else ()
    added = event_type.fields[len(inherited) :]
    if above and inherited:
        yield from (f"Fields: those of {link(above, above.name)}{', and:' if added else '.'}", "")
    if added:
        rows = [(f"`{one.name}`", one.type_name, one.doc) for one in added]
        yield from table(("field", "type", "what it is"), rows)


def producer(event_type: EventType) -> str:
    """Who publishes the type, in words."""
    if event_type.is_abstract:
        return "nobody; subscribe to it for all types below it"
    if event_type.producer.startswith("parser_"):
        return f"the parser `{event_type.producer.removeprefix('parser_')}`"
    return {
        "core": "the stack's core",
        "worker": "the worker",
        "bus": "the bus, to the NF alone that it is about",
        "nf": "any network function",
    }.get(event_type.producer, f"the module `{event_type.producer.replace('_', '.', 1)}`")


def reasons(catalog: Catalog) -> Iterator[str]:
    """Why packets are dropped or malformed, why flows end, what is unusual."""
    yield from ("# Reasons", "", "Why a packet was dropped or is malformed, why a flow ended,")
    yield from ("what is unusual. Each is counted.", "")
    rows = [(f"`{r.name}`", r.severity, r.doc) for r in catalog.reasons]
    yield from table(("reason", "severity", "meaning"), rows)


def counters() -> Iterator[str]:
    """What a worker counts."""
    text = COUNTERS.read_text()
    yield from ("# Counters", "", "What a worker counts; besides these, published entries by event")
    yield from ("type and occurrences by reason.", "")
    yield from table(("counter", "meaning"), [(f"`{n}`", doc) for n, doc in COUNTER.findall(text)])
