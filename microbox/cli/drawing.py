"""A plan as a picture: a box for each stage, from the capture to the output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from microbox.chain.plan import Plan, PlannedNF

ARROW = " ─▶ "
FRAME = 4  # columns that a box takes beside what is in it


def draw(plan: Plan, width: int) -> RenderableType:
    """The picture, in as many rows as `width` columns make it."""
    from rich.console import Group
    from rich.table import Table

    rows = []
    for row in _rows(_parts(plan), width):
        table = Table.grid()
        for _ in row:
            table.add_column(vertical="middle", no_wrap=True)
        table.add_row(*(one if isinstance(one, str) else _box(*one) for one in row))
        rows.append(table)
    return Group(*rows)


Part = str | tuple[str, list[str]]
"""A word, or a box: its title and its lines."""


def _parts(plan: Plan) -> Iterator[Part]:
    workers = f" x {plan.chain.workers}" if plan.chain.workers > 1 else ""
    yield f"stack{workers}"
    for number, stage in enumerate(plan.stages(), 1):
        yield f"stage {number}", [_label(nf) for nf in stage if nf.is_first]
    if plan.chain.output:
        yield f"gate{workers}"
        yield plan.chain.output.name


def _label(nf: PlannedNF) -> str:
    name = f"{nf.entry} x {nf.spread.count}" if nf.spread else nf.name
    if nf.is_shadow:
        return f"{name} (in shadow)"
    if nf.manifest.edits:
        return f"{name} (edits)"
    return f"{name} (may drop)" if nf.is_inline else name


def _rows(parts: Iterator[Part], width: int) -> Iterator[list[Part]]:
    """The parts with arrows between them, broken where a row is full."""
    row: list[Part] = []
    used = 0
    for number, part in enumerate(parts):
        needed = len(ARROW) + _width(part)
        if row and used + needed > width:
            yield row
            row, used = [], 0
        row += [part] if number == 0 else [ARROW, part]
        used += needed
    yield row


def _width(part: Part) -> int:
    if isinstance(part, str):
        return len(part)
    title, lines = part
    return FRAME + max(len(title), *map(len, lines))


def _box(title: str, lines: list[str]) -> RenderableType:
    from rich.markup import escape
    from rich.panel import Panel

    return Panel.fit("\n".join(map(escape, lines)), title=f"[dim]{title}[/dim]")
