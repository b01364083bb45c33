"""`microbox.read`: the events of a capture as columns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, overload

from microbox.api.columns import Columns, joined
from microbox.api.extract import Extractor
from microbox.api.source import EventName, Source, name_of
from microbox.nf.batch import Batch
from microbox.nf.derived import DerivedEvent

if TYPE_CHECKING:
    from microbox.api.in_process import AnyNF, InProcess


@overload  # a str is a sequence of str as well, but then it is one name
def read(  # type: ignore[overload-overlap]
    capture: str | os.PathLike[str],
    events: EventName,
    *,
    filter: str = "",
    fields: Sequence[str] | None = None,
    count: int | None = None,
    nfs: Sequence[AnyNF] = (),
    stack: Mapping[str, Any] | None = None,
) -> Columns: ...
@overload
def read(
    capture: str | os.PathLike[str],
    events: Sequence[EventName],
    *,
    filter: str = "",
    fields: Sequence[str] | None = None,
    count: int | None = None,
    nfs: Sequence[AnyNF] = (),
    stack: Mapping[str, Any] | None = None,
) -> dict[str, Columns]: ...
@overload
def read(
    capture: str | os.PathLike[str],
    events: EventName,
    *,
    chunk: int,
    filter: str = "",
    fields: Sequence[str] | None = None,
    count: int | None = None,
    nfs: Sequence[AnyNF] = (),
    stack: Mapping[str, Any] | None = None,
) -> Iterator[Columns]: ...


def read(  # noqa: PLR0913 (what may be said of a reading)
    capture: str | os.PathLike[str],
    events: EventName | Sequence[EventName],
    *,
    chunk: int | None = None,
    filter: str = "",
    fields: Sequence[str] | None = None,
    count: int | None = None,
    nfs: Sequence[AnyNF] = (),
    stack: Mapping[str, Any] | None = None,
) -> Columns | dict[str, Columns] | Iterator[Columns]:
    """The events of a capture, as numpy columns that are the caller's own.

        requests = microbox.read("a.pcap", "http.request")
        requests["host"]

    The columns are `time` (datetime64[ns], UTC), `packet` (number of the packet, from 1), `flow`
    (number of the flow's first packet; 0: none), `direction` (0: from the originator), `reason`,
    and the fields of the event (`microbox events TYPE`): numbers as the event has them, texts and
    addresses as objects (str). An event type stands for all below it; `type` is then a column too.

    Nothing is started but threads of this process, which have ended when this returns; Ctrl-C ends
    them as well. Raises ValueError for events, fields and filters that there are not, RunError for
    a capture that cannot be read.

    Parameters
    ----------
    capture
        Path of a capture: pcap, pcapng, or what else libpcap reads.
    events
        An event type's name, such as "tcp.end", or an event made by `microbox.event`. A list of
        them gives a dict, with Columns for each of them by the name that it was given.
    chunk
        Give an iterator of Columns of so many rows (the last one: what is left), for captures whose
        events do not fit into memory. One type at a time.
    filter
        In libpcap's syntax: events of packets and flows that fit.
    fields
        Only these columns, in this order. Beside the above there are `type`, `sequence`,
        `frame_length`, `data_length`, `data` and `frame` (bytes), and of both sides of a flow as of
        the event `originator_bytes`, `responder_round_trip`, ...: all fields of a side.
    count
        Stop after so many packets.
    nfs
        NFs that run in front (names, files or classes), whose events may be read as well.
    stack
        Settings of the stack, as in a chain file.
    """
    source = Source(capture, filter, count, nfs, stack or {})
    if isinstance(fields, str):
        raise TypeError(f"fields is a list of names: [{fields!r}]")
    if not isinstance(events, str | DerivedEvent):
        if chunk is not None:
            raise ValueError("chunks are of one event type: read each type by itself")
        return _read_all(source, events, fields)
    if chunk is None:
        (columns,) = _read_all(source, [events], fields).values()
        return columns
    if chunk < 1:
        raise ValueError(f"chunk is a number of rows from 1 on, not {chunk}")
    return _chunks(source, events, fields, chunk)


def _read_all(
    source: Source, events: Sequence[EventName], fields: Sequence[str] | None
) -> dict[str, Columns]:
    tables = [_Table() for _ in events]
    with source.opened([[one] for one in events], [one.take for one in tables]) as run:
        for event, table in zip(events, tables, strict=True):
            table.plan(run, event, fields)
        with run:
            while run.step():
                pass
            run.finish()
    return {name_of(event): one.rest() for event, one in zip(events, tables, strict=True)}


def _chunks(
    source: Source, event: EventName, fields: Sequence[str] | None, size: int
) -> Iterator[Columns]:
    """Plans at once, so that what is wrong is said at the call."""
    table = _Table()
    with ExitStack() as opened:
        run = opened.enter_context(source.opened([[event]], [table.take]))
        table.plan(run, event, fields)
        return _steps(opened.pop_all(), run, table, size)


def _steps(opened: ExitStack, run: InProcess, table: _Table, size: int) -> Iterator[Columns]:
    with opened, run:
        while run.step():
            yield from table.full(size)
        run.finish()
        yield from table.full(size)
    if table.rows:
        yield table.rest()


class _Table:
    """Rows of one type, as they come."""

    def __init__(self) -> None:
        self._parts: list[Columns] = []
        self._extractor: Extractor | None = None
        self.rows = 0

    def plan(self, run: InProcess, event: EventName, fields: Sequence[str] | None) -> None:
        """Once it is known which types there are."""
        catalog = run.plan.catalog
        self._extractor = Extractor(catalog.resolve(name_of(event)), catalog, fields)

    def take(self, batch: Batch) -> None:
        """Copies a batch's events."""
        assert self._extractor is not None
        self._parts.append(self._extractor.columns(batch))
        self.rows += len(batch)

    def rest(self) -> Columns:
        """All rows that are left."""
        assert self._extractor is not None
        parts, self._parts, self.rows = self._parts, [], 0
        return joined(parts or [self._extractor.nothing()])

    def full(self, size: int) -> Iterator[Columns]:
        """As many chunks of `size` rows as there are."""
        if self.rows < size:
            return
        whole = self.rest()
        end = len(whole) - len(whole) % size
        if end < len(whole):
            self._parts, self.rows = [whole[end:]], len(whole) - end
        for start in range(0, end, size):
            yield whole[start : start + size]
