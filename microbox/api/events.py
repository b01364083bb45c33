"""`microbox.events`: the events of a capture, one after the other."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from microbox.api.kept_events import Copier
from microbox.api.source import EventName, Source
from microbox.nf.batch import Batch
from microbox.nf.event import Event

if TYPE_CHECKING:
    from microbox.api.in_process import AnyNF, InProcess


def events(
    capture: str | os.PathLike[str],
    *types: EventName,
    filter: str = "",
    count: int | None = None,
    nfs: Sequence[AnyNF] = (),
    stack: Mapping[str, Any] | None = None,
) -> Events:
    """The events of a capture, of all these types and the types below them, in order.

        for event in microbox.events("a.pcap", "tcp.end"):
            print(event.flow, event.snapshot.side[0].bytes)

    An event is what handlers of NFs get (`microbox.Event`), but a copy: it may be kept, its `data`
    and `frame` as well. The capture stays mapped while events are kept.

    Threads of this process read while the loop runs, no further ahead than a log of 16,384 entries.
    They end with the iteration: at its end, by `close()`, at the end of a `with`, or when the
    iterator is let go of; so `break` leaves nothing behind. Raises ValueError for types and filters
    that there are not, RunError for a capture that cannot be read.

    Parameters
    ----------
    capture
        Path of a capture: pcap, pcapng, or what else libpcap reads.
    types
        Names of event types, or events made by `microbox.event`.
    filter
        In libpcap's syntax: events of packets and flows that fit.
    count
        Stop after so many packets.
    nfs
        NFs that run in front (names, files or classes), whose events may be read as well.
    stack
        Settings of the stack, as in a chain file.
    """
    return Events(Source(capture, filter, count, nfs, stack or {}), types)


class Events(Iterator[Event]):
    """An iterator over events, and a context that ends it."""

    def __init__(self, source: Source, types: Sequence[EventName]) -> None:
        """Plans; what runs is started by the first step."""
        self._pending = _Pending()
        with ExitStack() as opened:
            run = opened.enter_context(source.opened([types], [self._pending.take]))
            self._steps = _steps(opened.pop_all(), run, self._pending)

    def __iter__(self) -> Iterator[Event]:
        return self._steps

    def __next__(self) -> Event:
        return next(self._steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration and all that it started."""
        self._steps.close()


class _Pending:
    """Events of the last poll."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.copier: Copier | None = None

    def take(self, batch: Batch) -> None:
        """Copies a batch's events."""
        assert self.copier is not None
        self.events += self.copier.copies(batch)


def _steps(opened: ExitStack, run: InProcess, pending: _Pending) -> Generator[Event, None, None]:
    """What it opened is closed when it is."""
    with opened, run:
        assert run.areas is not None
        pending.copier = Copier(run.areas.pool_size)
        while run.step():
            yield from pending.events
            pending.events = []
        run.finish()
        yield from pending.events
