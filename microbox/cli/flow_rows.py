"""The rows of the table that `microbox flows` shows: what each `flow.present` says, sorted, and as
a table, JSON or CSV. Names of columns are those of the logs."""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from microbox.ffi.views import struct_dtype
from microbox.nf.notation import PROTOCOLS, address_text, endpoint_text
from microbox.nf.snapshot import tcp_state

if TYPE_CHECKING:
    from rich.table import Table

    from microbox.nf.batch import Batch

NANOSECONDS = 1_000_000_000

SIDE = struct_dtype("side").names or ()

Key = Literal[
    "bytes",
    "packets",
    "age",
    "idle",
    "proto",
    "state",
    "src_ip",
    "src_port",
    "dest_ip",
    "dest_port",
]

LARGEST_FIRST = ("bytes", "packets", "age", "idle")


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One live flow. `toserver` is what the originator has sent, whose address is `src_ip`."""

    flow_id: int
    proto: str
    src_ip: str
    src_port: int
    dest_ip: str
    dest_port: int
    vlan: int  # 0: untagged
    state_originator: str  # of TCP that the stack tracks, else ""
    state_responder: str
    pkts_toserver: int
    pkts_toclient: int
    bytes_toserver: int
    bytes_toclient: int
    age: float  # seconds
    idle: int  # seconds, stays at 65535
    worker: str = ""  # whose flow table it is in

    @property
    def packets(self) -> int:
        """Both ways."""
        return self.pkts_toserver + self.pkts_toclient

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.bytes_toserver + self.bytes_toclient

    @property
    def state(self) -> str:
        """In words: of TCP those of both sides, of others whether there was an answer."""
        if not self.state_originator:
            return "answered" if self.pkts_toclient else "unanswered"
        if self.state_originator == self.state_responder:
            return self.state_originator
        return f"{self.state_originator} / {self.state_responder}"


values_of = attrgetter(*(one.name for one in dataclasses.fields(FlowRow) if one.name != "worker"))
"""What the stack says of a flow, of a row; to be a row again with the worker's name."""

COLUMNS = (
    *("flow", "protocol", "source", "source_port", "destination", "destination_port", "vlan"),
    *("time", "started", "idle"),
)
"""Of a batch of `flow.present`; the sides of the snapshot come behind them."""

Columns = dict[str, NDArray[Any]]


def copied(batch: Batch) -> Columns:
    """What a batch says, in memory of this process."""
    sides = batch.snapshot["side"]
    columns = {name: getattr(batch, name).copy() for name in COLUMNS}
    return columns | {"originator": sides[:, 0].copy(), "responder": sides[:, 1].copy()}


def rows_of(columns: Columns) -> Iterator[FlowRow]:
    """A row a flow."""
    return map(_row, *map(_values, columns.values()))


def _values(column: NDArray[Any]) -> Iterable[Any]:
    return column.tolist() if column.ndim == 1 else map(bytes, column)


def _row(*values: Any) -> FlowRow:
    """Of values in the order of the columns."""
    number, protocol, source, source_port, destination, destination_port, vlan, *rest = values
    time, started, idle, *sides = rest
    originator, responder = (dict(zip(SIDE, side, strict=True)) for side in sides)
    is_tracked = bool(originator["state"] or responder["state"])  # else both are CLOSED
    return FlowRow(
        flow_id=number,
        proto=PROTOCOLS.get(protocol) or str(protocol),
        src_ip=address_text(source),
        src_port=source_port,
        dest_ip=address_text(destination),
        dest_port=destination_port,
        vlan=vlan,
        state_originator=tcp_state(originator["state"]).name.lower() if is_tracked else "",
        state_responder=tcp_state(responder["state"]).name.lower() if is_tracked else "",
        pkts_toserver=originator["packets"],
        pkts_toclient=responder["packets"],
        bytes_toserver=originator["bytes"],
        bytes_toclient=responder["bytes"],
        age=max(time - started, 0) / NANOSECONDS,
        idle=idle,
    )


def in_order(rows: Sequence[FlowRow], key: Key) -> list[FlowRow]:
    """Sorted; those that are alike in the order of their first packets."""
    by_age = sorted(rows, key=attrgetter("flow_id"))
    return sorted(by_age, key=attrgetter(key), reverse=key in LARGEST_FIRST)


# --- as text ---


def documents(rows: Sequence[FlowRow]) -> list[dict[str, Any]]:
    """For JSON: stable keys."""
    return [{**dataclasses.asdict(row), "state": row.state} for row in rows]


def write_csv(rows: Sequence[FlowRow]) -> None:
    """A line of names, and one a flow, to stdout."""
    names = [one.name for one in dataclasses.fields(FlowRow)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)


def table(rows: Sequence[FlowRow], *, has_workers: bool) -> Table:
    """For people. `has_workers`: with a column that says whose flow it is."""
    from rich.table import Table
    from rich.text import Text

    numbers = ("packets →", "←", "bytes →", "← ", "age", "idle")
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("proto", "source", "destination", "state"):
        shown.add_column(column, no_wrap=True)
    for column in numbers:
        shown.add_column(column, justify="right", no_wrap=True)
    if has_workers:
        shown.add_column("worker", no_wrap=True)
    for row in rows:
        worker = [row.worker] if has_workers else []
        shown.add_row(*map(Text, [*_cells(row), *worker]))
    return shown


def _cells(row: FlowRow) -> list[str]:
    counts = (row.pkts_toserver, row.pkts_toclient, row.bytes_toserver, row.bytes_toclient)
    return [
        row.proto,
        endpoint_text(row.src_ip, row.src_port),
        endpoint_text(row.dest_ip, row.dest_port),
        row.state,
        *(f"{count:,}" for count in counts),
        f"{row.age:,.1f}s",
        f"{row.idle:,}s",
    ]
