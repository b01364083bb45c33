"""An NF's handlers: which of them a delivery is for.

Each handler has an event object for each of its types, which is shown every delivery in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from microbox.channel.messages import Bit
from microbox.events.catalog import EventType
from microbox.nf.decorators import MarkedHandler, Subscription, Timer, handlers_of
from microbox.nf.deliveries import Deliveries
from microbox.nf.derivations import set_of
from microbox.nf.errors import UsageError
from microbox.nf.event import Event
from microbox.nf.event_class import event_class
from microbox.nf.function import NetworkFunction
from microbox.nf.manifest import FLOW_STATE_HANDLER, flow_ends

if TYPE_CHECKING:
    from microbox.nf.batch import Batch, BatchSelector


Call = tuple[Callable[[Event], Any], Event, str]
"""A handler, the event object that it is given, its name. A plain tuple, for event_view.c."""


class CallTable(dict[int, Call]):
    """Type and bits of a delivery → the call that handles it, made at the first look."""

    def __init__(self, make: Callable[[int], Call]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: int) -> Call:
        call = self[key] = self._make(key)
        return call


class Route(NamedTuple):
    """Which deliveries a call is for: one type, on some of the reader's subscriptions."""

    type: int
    bits: int
    call: Call


class BatchCall(NamedTuple):
    """A handler of batches and what selects its events."""

    function: Callable[[Batch], Any]
    selector: BatchSelector
    name: str


class Handlers:
    """The handlers of one NF, with the reader's subscriptions that bring their events."""

    def __init__(
        self,
        function: NetworkFunction,
        bits: list[Bit],
        deliveries: Deliveries,
        *,
        log_slots: int,
        note_end: Callable[[Event], None],
    ) -> None:
        """`bits` as planned, in the order of the reader's subscriptions. `note_end` is called for
        the end of each flow where the NF keeps states."""
        self.routes: list[Route] = []
        self.batches: list[BatchCall] = []
        self.asked_for: set[int] = set()
        """Types that the NF's own handlers read."""
        self._function = function
        self._bits = bits
        self._catalog = deliveries.catalog
        self._deliveries = deliveries
        self._log_slots = log_slots
        for one in handlers_of(type(function)):
            self._add(one)
        if deliveries.keeps_states:
            ends = self._types_of(flow_ends(self._catalog))
            self._add_calls(note_end, self._unfiltered(ends), FLOW_STATE_HANDLER)

    def calls_of(self, key: int) -> list[Call]:
        """What a key (type, and from bit 16 on the bits) leads to, in the order of definition."""
        number, bits = key & 0xFFFF, key >> 16
        return [route.call for route in self.routes if route.type == number and route.bits & bits]

    def renew(self, place: int) -> Call:
        """Gives a route a new event object, since the old one lives on. Returns the old call."""
        route = self.routes[place]
        function, kept, name = route.call
        renewed = (function, type(kept)(self._deliveries), name)
        self.routes[place] = route._replace(call=renewed)
        return route.call

    def _add(self, one: MarkedHandler) -> None:
        if isinstance(one.mark, Timer):
            self._add_timer(one, one.mark)
        elif one.mark.batch:
            self._add_batch(one, one.mark)
        else:
            types = self._subscribed(one.mark)
            self.asked_for.update(each.number for each in types)
            self._add_calls(getattr(self._function, one.name), types, one.name)

    def _types_of(self, names: Any) -> list[EventType]:
        found = (self._catalog.delivered(self._catalog.resolve(name)) for name in names)
        return sorted({one for some in found for one in some}, key=lambda one: one.number)

    def _bit_of(self, expression: str, switch: str = "", initially: bool = True) -> int:
        """Which of the reader's subscriptions this is, as a mask."""
        for k, bit in enumerate(self._bits):
            if bit.follows is None and (bit.filter, bit.switch, bit.initially) == (
                expression,
                switch,
                initially,
            ):
                return 1 << k
        raise UsageError(f"the plan has no bit for the filter '{expression}'")

    def _subscribed(self, mark: Subscription) -> dict[EventType, int]:
        """The types of a handler, with the reader's subscriptions that bring them."""
        found: dict[EventType, int] = {}
        for name in mark.types:
            switch = self._catalog.resolve(name).name if mark.switch else ""
            bit = self._bit_of(mark.filter, switch, mark.initially)
            for one in self._types_of([name]):
                found[one] = found.get(one, 0) | bit
        return found

    def _unfiltered(self, types: list[EventType]) -> dict[EventType, int]:
        return dict.fromkeys(types, self._bit_of(""))

    def _add_calls(
        self, function: Callable[[Event], Any], types: Mapping[EventType, int], name: str
    ) -> None:
        for one in sorted(types, key=lambda one: one.number):
            call = (function, event_class(one)(self._deliveries), name)
            self.routes.append(Route(one.number, types[one], call))

    def _add_timer(self, one: MarkedHandler, mark: Timer) -> None:
        method = getattr(self._function, one.name)

        def fire(event: Event) -> Any:
            if event.period != mark.period:
                return None
            return method(event) if one.takes_event else method()

        timers = self._types_of(["timer"])
        self.asked_for.update(each.number for each in timers)
        self._add_calls(fire, self._unfiltered(timers), one.name)

    def _add_batch(self, one: MarkedHandler, mark: Subscription) -> None:
        from microbox.nf.batch import BatchSelector

        types = self._types_of(mark.types)
        self.asked_for.update(each.number for each in types)
        selector = BatchSelector(
            self._deliveries,
            common_ancestor([self._catalog.resolve(name) for name in mark.types]),
            self._bit_of(mark.filter),
            set_of([each.number for each in types]),
            self._log_slots,
        )
        self.batches.append(BatchCall(getattr(self._function, one.name), selector, one.name))


def common_ancestor(types: list[EventType]) -> EventType:
    """The nearest type that all of these descend from."""
    others = [set(one.ancestors()) for one in types]
    return next(one for one in types[0].ancestors() if all(one in some for some in others))
