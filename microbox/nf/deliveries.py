"""`Deliveries`: what the events of one runner have in common.

What it does for an event besides showing it (switches, rewrites, edits) is done by objects that the
runner puts here; outside of a chain there are none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from microbox import _event_view
from microbox._core import ffi
from microbox.events.catalog import Catalog
from microbox.nf.errors import UsageError

if TYPE_CHECKING:
    from microbox.nf.event import Event
    from microbox.nf.flow import Flow

VIEW_REFERENCES = 3  # the tuple in the list of views, the loop's variable, getrefcount's argument


class FlowSwitches(Protocol):
    """Switches an NF's subscriptions for the flow of the event that is being handled."""

    def unsubscribe(self, types: tuple[str, ...], side: str | None) -> None:
        """As Flow.unsubscribe."""

    def subscribe(self, types: tuple[str, ...], side: str | None) -> None:
        """As Flow.subscribe."""


class FlowRewrites(Protocol):
    """Translates the flow of the event that is being handled."""

    def rewrite(
        self,
        flow: Flow,
        source: str | None,
        source_port: int | None,
        destination: str | None,
        destination_port: int | None,
    ) -> None:
        """As Flow.rewrite."""


class PacketEdits(Protocol):
    """Edits the packet of the event that is being handled."""

    def edit(
        self,
        event: Event,
        payload: bytes | bytearray | memoryview | None,
        payload_offset: int,
        fields: Mapping[str, Any],
    ) -> None:
        """As Event.edit."""

    def push_vlan(self, vlan: int, priority: int, ether_type: int, *, drop_eligible: bool) -> None:
        """As Event.push_vlan."""

    def pop_vlan(self) -> None:
        """As Event.pop_vlan."""


class Deliveries(_event_view.Deliveries):
    """What the events of one runner have in common: the deliveries of the last poll and which of
    them is being handled, the frame pool, the states of flows, the views that the handler was
    given."""

    __slots__ = (
        "array",
        "catalog",
        "edits",
        "flow_state",
        "frame_of",
        "is_at_rest",
        "keeps_states",
        "last_time",
        "pool",
        "pool_size",
        "rewrites",
        "sees_edits",
        "states",
        "switches",
    )

    def __init__(self, catalog: Catalog, flow_state: Callable[[], Any] | None, array: Any) -> None:
        """`array`: struct mb_delivery[], filled by each poll."""
        self.catalog = catalog
        self.array = array
        self.pool = ffi.NULL
        self.pool_size = 0
        self.flow_state = flow_state
        self.keeps_states = False
        self.states: dict[int, Any] = {}
        self.rewrites: FlowRewrites | None = None
        self.edits: PacketEdits | None = None
        self.sees_edits = False  # NFs that edit packets stand before this one
        self.frame_of: Callable[[Any], Any] | None = None  # where they left it
        self.switches: FlowSwitches | None = None
        self.is_at_rest = False  # no event is being handled, and none may be looked at
        self.last_time = 0  # of the last event, for when it is at rest

    @property
    def entry(self) -> Any:
        """The entry of the event that is being handled, struct mb_entry *; NULL before the first
        one."""
        return self.array[self.index].entry if self.index >= 0 else ffi.NULL

    def note_time(self) -> None:
        """Before the entry goes back to its writer."""
        self.last_time = int(self.entry.time)

    def view(self, pointer: Any, length: int) -> memoryview:
        """Read-only bytes that are taken back when the handler returns."""
        if not length:
            return memoryview(b"")
        buffer = ffi.buffer(pointer, length)
        view = memoryview(buffer).toreadonly()
        self.views.append((buffer, view))
        return view

    def in_pool(self, offset: int, length: int) -> memoryview:
        """A view of the frame pool. Raises UsageError where the range is not in it."""
        if offset + length > self.pool_size:
            raise UsageError(
                f"the event's bytes lie outside the frame pool: [{offset}, {offset + length}) of "
                f"{self.pool_size}"
            )
        return self.view(self.pool + offset, length)

    def data_as_edited(self, length: int) -> memoryview:
        """The bytes of the event that is being handled, where earlier NFs edit packets."""
        seen = self._seen()
        return self.in_pool(seen.frame + seen.data_offset, length)

    def frame_as_edited(self) -> memoryview:
        """Its frame, likewise."""
        seen = self._seen()
        return self.in_pool(seen.frame, seen.frame_length)

    def _seen(self) -> Any:
        assert self.frame_of is not None
        return self.frame_of(self.array + self.index)

    def views_are_held(self) -> bool:
        """True while somebody else holds a view that was handed out, or a slice of one."""
        # A buffer is held by its view as well.
        return any(
            sys.getrefcount(view) > VIEW_REFERENCES or sys.getrefcount(buffer) > VIEW_REFERENCES + 1
            for buffer, view in self.views
        )

    def take_views_back(self) -> bool:
        """Releases the views handed out; False when one of them, or a slice of one, was kept."""
        all_returned = True
        for buffer, view in self.views:
            if sys.getrefcount(view) > VIEW_REFERENCES:
                all_returned = False
            try:
                view.release()
            except BufferError:
                all_returned = False
            if sys.getrefcount(buffer) > VIEW_REFERENCES:
                all_returned = False
        self.views.clear()
        return all_returned

    def state_of(self, flow: int) -> Any:
        """The NF's own object of a flow; None until it sets one, where it has no factory."""
        if not self.keeps_states:
            raise UsageError(
                "flow.state is not kept for this NF: its module never says `flow.state`, so "
                "nothing would tell when it may go. Write event.flow.state in the NF's own file"
            )
        if not flow:
            raise UsageError("flow.state: this event has no flow; ask `if event.flow:` first")
        state = self.states.get(flow)
        if state is None and self.flow_state is not None:
            state = self.states[flow] = self.flow_state()
        return state
