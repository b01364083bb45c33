"""`event.flow.unsubscribe(...)` and `subscribe(...)`: from names to commands for the stack.

What can be switched by name is what a handler says `switch=True` (or `initially=False`) of; all of
an NF's subscriptions go with `unsubscribe()`. The stack obeys some packets later, at the same place
in every replay; what was unsubscribed from is left out at once: by the reader in later polls, and
by `left` in the one that is being handled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from microbox._core import lib
from microbox.channel.messages import Bit
from microbox.events.catalog import Catalog, EventType, UnknownEventType
from microbox.nf.errors import UsageError

BOTH_SIDES = 3
SIDES = {None: BOTH_SIDES, "originator": 1, "responder": 2}
ALL = (1 << 32) - 1

Send = Callable[[int, int, int], None]
"""Sends a command about the flow of the event that is being handled: kind, subscriptions, sides."""


class Switches:
    """The switches of one NF."""

    def __init__(
        self,
        owner: type,
        bits: Sequence[Bit],
        catalog: Catalog,
        send: Send,
        *,
        left: dict[int, list[int]],
    ) -> None:
        """`bits` as planned, in the order of the reader's subscriptions. `left`: in the poll that
        is being handled, by flow, the subscriptions that are still wanted of each side."""
        self._owner = owner
        self._catalog = catalog
        self._send = send
        self._left = left
        self.own = sum(1 << k for k, bit in enumerate(bits) if bit.follows is None)
        """All subscriptions but those that only follow other NFs."""
        self._switches: dict[EventType, int] = {}
        for k, bit in enumerate(bits):
            if bit.switch:
                found = catalog.resolve(bit.switch)
                self._switches[found] = self._switches.get(found, 0) | 1 << k
        self._is_declared = any(bit.may_switch for bit in bits)

    def unsubscribe(self, flow: int, types: tuple[str, ...], side: str | None) -> None:
        """Takes effect at once for this NF, some packets later in the stack."""
        if side is not None and not types:
            raise UsageError(
                "flow.unsubscribe of one side takes names of event types: "
                f'unsubscribe("tcp.data", side="{side!s:.20}")'
            )
        sides = self._sides("unsubscribe", flow, side)
        subscriptions = self._named("unsubscribe", types) if types else self.own
        self._send(lib.MB_COMMAND_UNSUBSCRIBE, subscriptions, sides)
        wanted = self._left.setdefault(flow, [ALL, ALL])
        for direction in (0, 1):
            if sides >> direction & 1:
                wanted[direction] &= ~subscriptions

    def subscribe(self, flow: int, types: tuple[str, ...], side: str | None) -> None:
        """Takes effect in the stack, some packets later."""
        if not types:
            raise UsageError('flow.subscribe() takes names of event types: subscribe("tcp.data")')
        sides = self._sides("subscribe", flow, side)
        self._send(lib.MB_COMMAND_SUBSCRIBE, self._named("subscribe", types), sides)

    def _sides(self, verb: str, flow: int, side: str | None) -> int:
        if not self._is_declared:
            raise UsageError(
                f"flow.{verb}: {self._owner.__name__} did not declare that it gives commands; "
                f"write commands = True in the class, or event.flow.{verb} in the NF's own file"
            )
        if side not in SIDES:
            raise UsageError(f"flow.{verb}: side is 'originator' or 'responder', not {side!r:.60}")
        if not flow:
            raise UsageError(f"flow.{verb}: this event has no flow; ask `if event.flow:` first")
        return SIDES[side]

    def _named(self, verb: str, types: tuple[str, ...]) -> int:
        subscriptions = 0
        for name in types:
            found = self._resolved(verb, name)
            named = [bit for one, bit in self._switches.items() if found in one.ancestors()]
            if not named:
                raise UsageError(
                    f"flow.{verb}('{name}'): no handler of {self._owner.__name__} can be switched "
                    f'for it; write @on("{name}", switch=True)'
                )
            for bit in named:
                subscriptions |= bit
        return subscriptions

    def _resolved(self, verb: str, name: Any) -> EventType:
        if not isinstance(name, str):
            raise UsageError(f"flow.{verb} takes names of event types, not {name!r:.60}")
        try:
            return self._catalog.resolve(name)
        except UnknownEventType as error:
            raise UsageError(f"flow.{verb}: {error}") from None
