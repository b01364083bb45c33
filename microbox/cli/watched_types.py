"""What somebody who only looks on can read of a chain that runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microbox.channel.messages import TypeDeclaration
from microbox.events.catalog import Catalog, EventType, UnknownEventType, built_in

TIMER = "timer"


@dataclass(frozen=True, slots=True)
class Reading:
    """What to subscribe to for a type."""

    types: Sequence[str]
    skips: bool  # the chain goes on where its reader is too slow: only of what the stack publishes
    left_out: Sequence[str] = ()  # types below it that are published, and not read


class RunTypes:
    """The event types of a chain that runs, and who has to do with them."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        """`answer`: of the control socket (runtime/inspection/event_view.py)."""
        declared = [TypeDeclaration(**one) for one in answer.get("declared", ())]
        self.declares = {one.name: one.fields for one in declared}
        """As an NF that reads them has to declare them."""
        self.catalog: Catalog = built_in().with_user_types(declared)
        self.publishers: Mapping[str, Sequence[str]] = answer.get("publishers", {})
        """NFs by the full name of what they publish."""
        self.subscribers: Mapping[str, Sequence[str]] = answer.get("subscribers", {})
        """NFs by the full name of what they subscribe to."""

    def resolve(self, name: str) -> EventType:
        """The type called so. Raises ValueError."""
        try:
            return self.catalog.resolve(name)
        except UnknownEventType as error:
            raise ValueError(str(error)) from None

    def reading(self, of: EventType) -> Reading:
        """Of a type above what both the stack and NFs publish only the stack's own is read: NFs'
        events hold up their publisher until they are read, so they are not to be read with what
        comes with each packet. Raises ValueError where nothing would come."""
        below = [one for one in self.catalog.delivered(of) if one is of or not one.is_derived]
        by_stack = [one.name for one in below if one.is_by_stack and self._comes(one)]
        by_nfs = [one for one in below if not (one.is_by_stack or one.is_abstract)]
        if by_stack:
            types = by_stack if of.is_abstract else [of.name]
            left_out = [one.name for one in by_nfs if one.name in self.publishers]
            return Reading(types, skips=True, left_out=left_out)
        if not any(self._comes(one) for one in by_nfs):
            raise ValueError(f"nobody publishes '{of.name}' in this chain, so no event would come")
        return Reading([of.name], skips=False)

    def _comes(self, one: EventType) -> bool:
        """A parser comes with who reads it."""
        if one.name == TIMER:
            return TIMER in self.subscribers
        return one.is_by_stack or bool(one.parser) or one.name in self.publishers
