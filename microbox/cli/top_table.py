"""A frame of `microbox top`, for people."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from microbox.chain.units import format_size
from microbox.cli.memory_words import memory_in_words
from microbox.cli.summary import equation
from microbox.cli.top_frame import Frame, NFRow, WorkerRow
from microbox.runtime.accounts.report import Balance, Term

NUMBERS = ("events/s", "lag", "CPU", "lost", "restarts", "memory")


def _read(frame: Frame) -> str:
    return format_size(frame.read_bytes) if frame.read is None else f"{frame.read:.0%}"


def drawn(frame: Frame) -> Group:
    """All of it: what comes in, what adds up, then who does what."""
    return Group(
        Text(f"{frame.name}: {frame.doing}, {_read(frame)} of {frame.input}", style="bold"),
        Text(
            f"input  {frame.packets_per_second:,.0f} packets/s, "
            f"{frame.bytes_per_second / 1e6:,.1f} MB/s"
        ),
        *(Text(equation(_balance(one))) for one in frame.balances),
        Text(f"memory {memory_in_words(frame.memory)}"),
        Text(),
        _table(frame),
    )


def _balance(wire: dict[str, Any]) -> Balance:
    return Balance(wire["name"], Term(**wire["total"]), [Term(**part) for part in wire["parts"]])


def _table(frame: Frame) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("", *NUMBERS, "state"):
        table.add_column(column, justify="right" if column in NUMBERS else "left", no_wrap=True)
    for worker in frame.workers:
        table.add_row(*map(Text, _worker(worker)))
    has_workers = len(frame.workers) > 1
    for stage in frame.stages:
        cells = (f"stage {stage.stage}", _rate(stage.events_per_second), f"{stage.lag:,}")
        table.add_row(*map(Text, (*cells, _share(stage.cpu))), style="dim")
        for nf in frame.nfs:
            if nf.stage == stage.stage:
                table.add_row(*map(Text, _nf(nf, has_workers=has_workers)))
    return table


def _worker(row: WorkerRow) -> tuple[str, ...]:
    rate = _rate(row.events_per_second)
    return (f"stack ({row.name})", rate, "", _share(row.cpu), "", "", format_size(row.memory), "")


def _nf(row: NFRow, *, has_workers: bool) -> tuple[str, ...]:
    name = f"{row.name} of {row.worker}" if has_workers else row.name
    memory = format_size(row.memory)
    if row.memory_limit is not None and row.memory_taken is not None:
        memory = f"{format_size(row.memory_taken)} of {format_size(row.memory_limit)}"
    return (
        f"  {name}",
        _rate(row.events_per_second),
        f"{row.lag:,}",
        _share(row.cpu),
        f"{row.lost:,}",
        f"{row.restarts:,}",
        memory,
        row.outcome,
    )


def _rate(events: float) -> str:
    return f"{events:,.0f}"


def _share(cpu: float) -> str:
    return f"{cpu:.0%}"
