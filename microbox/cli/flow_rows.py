"""The rows of the table that `microbox flows` shows: what each `flow.present` says, sorted, and as
a table, JSON or CSV. Names of columns are those of the logs."""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from microbox.nf.event import TcpState

if TYPE_CHECKING:
    from rich.table import Table

    from microbox.nf.event import Event

NANOSECONDS = 1_000_000_000

Key = Literal[
    "bytes", "packets", "age", "idle", "proto", "state", "src", "src_port", "dest", "dest_port"
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


def row_of(event: Event) -> FlowRow:
    """Of a `flow.present`."""
    flow = event.flow
    originator, responder = event.snapshot.side
    is_tracked = (originator.state, responder.state) != (TcpState.CLOSED, TcpState.CLOSED)
    return FlowRow(
        flow_id=flow.id,
        proto=flow.protocol,
        src_ip=flow.source,
        src_port=flow.source_port,
        dest_ip=flow.destination,
        dest_port=flow.destination_port,
        vlan=event.vlan,
        state_originator=originator.state.name.lower() if is_tracked else "",
        state_responder=responder.state.name.lower() if is_tracked else "",
        pkts_toserver=originator.packets,
        pkts_toclient=responder.packets,
        bytes_toserver=originator.bytes,
        bytes_toclient=responder.bytes,
        age=max(event.time - event.started, 0) / NANOSECONDS,
        idle=event.idle,
    )


def in_order(rows: Sequence[FlowRow], key: Key) -> list[FlowRow]:
    """Sorted; those that are alike in the order of their first packets."""
    by_age = sorted(rows, key=attrgetter("flow_id"))
    name = {"src": "src_ip", "dest": "dest_ip"}.get(key, key)
    return sorted(by_age, key=attrgetter(name), reverse=key in LARGEST_FIRST)


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


def table(rows: Sequence[FlowRow]) -> Table:
    """For people."""
    from rich.table import Table
    from rich.text import Text

    numbers = ("packets →", "←", "bytes →", "← ", "age", "idle")
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("proto", "source", "destination", "state"):
        shown.add_column(column, overflow="fold")
    for column in numbers:
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(*map(Text, _cells(row)))
    return shown


def _cells(row: FlowRow) -> list[str]:
    counts = (row.pkts_toserver, row.pkts_toclient, row.bytes_toserver, row.bytes_toclient)
    return [
        row.proto,
        _endpoint(row.src_ip, row.src_port),
        _endpoint(row.dest_ip, row.dest_port),
        row.state,
        *(f"{count:,}" for count in counts),
        f"{row.age:,.1f}s",
        f"{row.idle:,}s",
    ]


def _endpoint(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
