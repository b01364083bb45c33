"""The loop of an NF that looks at a sample: while it has had enough, what comes is counted in C and
not shown to it, and the processor is left to those who do the work.

A handler in Python costs about a microsecond for each event. Of a million events a second an
observer that shows a hundred would so take a processor of its own, from the chain that it looks at.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from microbox._core import ffi, lib
from microbox.events.catalog import Catalog
from microbox.nf.derivations import set_of
from microbox.nf.function import NetworkFunction
from microbox.nf.reader import CAPACITY, Reader
from microbox.nf.runner import END_OF_INPUT, Runner

LOST = "system.lost"

AT_ONCE = 16
"""Deliveries before it is asked again whether it has had enough."""

ALL = 0xFFFFFFFF  # subscriptions

PAUSE = 0.005
"""Seconds that it sleeps then. A log of the default size has room for what comes meanwhile."""


class Sampled(NetworkFunction):
    """An NF that need not see all of its events, but is to know how many there were."""

    @abstractmethod
    def has_enough(self) -> bool:
        """True while it wants to see no more."""

    @abstractmethod
    def pass_over(self, events: int) -> None:
        """So many came meanwhile; those that were lost before are among them."""


class SamplingRunner(Runner):
    """Runs a Sampled."""

    def __init__(
        self, function: Sampled, reader: Reader, catalog: Catalog, *rest: Any, **others: Any
    ) -> None:
        """As Runner's."""
        super().__init__(function, reader, catalog, *rest, **others)
        self._sampled = function
        notices = {catalog.resolve(name).number for name in (LOST, END_OF_INPUT)}
        self._shown = _set_of(self._handlers.asked_for - notices)
        self._lost = _set_of({catalog.resolve(LOST).number})
        self._indexes = ffi.new("uint32_t[]", CAPACITY)
        self._from_nfs = ffi.new("bool *")

    def _handle(self, count: int) -> None:
        end = self._begin_poll(count)
        start = 0
        while start < count and not self._sampled.has_enough():
            start = self._call_handlers(start, min(start + AT_ONCE, count))
        self._check_kept()
        if start < count:
            self._pass_over(start, count)
        if self._end_poll(count, end):
            self.finish()
        elif start < count:
            time.sleep(PAUSE)

    def _pass_over(self, start: int, end: int) -> None:
        """The deliveries [start, end) of the last poll."""
        events = self._select(start, end, self._shown)
        array = self._deliveries.array
        for place in range(self._select(start, end, self._lost)):
            events += array[start + self._indexes[place]].entry.payload.lost.events
        self._sampled.pass_over(events)

    def _select(self, start: int, end: int, types: Any) -> int:
        """How many of these types there are; their places behind `start` are in `_indexes`."""
        array = self._deliveries.array + start
        return int(lib.mb_select(array, end - start, ALL, types, self._indexes, self._from_nfs))


def _set_of(types: Iterable[int]) -> Any:
    """As mb_select takes it."""
    return ffi.new("uint64_t[]", set_of(sorted(types)))
