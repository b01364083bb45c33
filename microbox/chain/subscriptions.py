"""What each NF gets: its handlers' types, narrowed to what somebody in front of it publishes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from microbox.channel.messages import HandlerDeclaration, Manifest, WorkerDerivedType
from microbox.events.catalog import Catalog, EventType, UnknownEventType

ALERT = "alert"
TIMER = "timer"
END_OF_INPUT = "system.end_of_input"
CHECKPOINT = "system.checkpoint"


def short_name(one: EventType, catalog: Catalog) -> str:
    """As people write it: the shortest end of two words or more that means just this type."""
    labels = one.name.split(".")
    for start in range(len(labels) - 2, 0, -1):
        name = ".".join(labels[start:])
        try:
            if catalog.resolve(name) is one:
                return name
        except UnknownEventType:
            continue
    return one.name


def normal_filter(expression: str) -> str:
    """One spelling for filters that differ in white space alone."""
    return " ".join(expression.split())


@dataclass(frozen=True, slots=True)
class Wish:
    """One type name of one handler, resolved."""

    handler: HandlerDeclaration
    written: str
    type: EventType

    @property
    def filter(self) -> str:
        """The handler's filter in its normal spelling."""
        return normal_filter(self.handler.filter)


class Reader:
    """What one NF of a chain reads and publishes, in terms of the catalog.

    Unknown names are left out here; whoever reports errors finds them in `unknown`.
    """

    def __init__(self, manifest: Manifest, catalog: Catalog, *, is_shadow: bool = False) -> None:
        self.manifest = manifest
        self.is_shadow = is_shadow
        self._catalog = catalog
        self.unknown: list[tuple[HandlerDeclaration | None, UnknownEventType, str]] = []
        self.publishes = frozenset(
            found for name in manifest.publishes if (found := self._resolve(name, None))
        )
        self.derives: dict[EventType, WorkerDerivedType] = {}  # from what it publishes
        self.wishes = tuple(
            Wish(handler, name, found)
            for handler in manifest.handlers
            for name in handler.types
            if (found := self._resolve(name, handler))
        )

    def _resolve(self, name: str, handler: HandlerDeclaration | None) -> EventType | None:
        try:
            return self._catalog.resolve(name)
        except UnknownEventType as error:
            self.unknown.append((handler, error, name))
            return None

    def delivered(self) -> frozenset[EventType]:
        """All that its handlers would get if somebody published it."""
        return frozenset(one for wish in self.wishes for one in self._catalog.delivered(wish.type))

    def available(self, wish: Wish, published: Iterable[EventType]) -> frozenset[EventType]:
        """What the wish gets when the NFs in front publish `published`."""
        delivered = self._catalog.delivered(wish.type)
        stack = {one for one in delivered if one.is_by_stack and self._can_come(one, wish)}
        return frozenset(stack | self.from_nfs(wish, published))

    def _can_come(self, one: EventType, wish: Wish) -> bool:
        if one.name == TIMER and not self.manifest.timers:
            return False
        return one.has_packet or not wish.filter

    def from_nfs(self, wish: Wish, published: Iterable[EventType]) -> set[EventType]:
        """The part of `available` that NFs publish."""
        return set(self._catalog.delivered(wish.type)).intersection(published)

    def hears(self, publisher: Reader) -> bool:
        """True where it gets what `publisher`, in front of it, publishes. What is said in shadow
        goes no further than to who tells people, or is in shadow too: to nobody who may drop
        packets, or publishes himself what others act on."""
        is_last = not self.manifest.is_inline and not self.publishes
        return not publisher.is_shadow or self.is_shadow or is_last

    def reads_by_name(self, name: str) -> bool:
        """True where a handler names this type or one below it."""
        return any(one.name == name for wish in self.wishes for one in wish.type.ancestors())


def publishers_in_front(readers: Sequence[Reader], index: int) -> frozenset[EventType]:
    """All types that the NFs in front of `index` publish, as far as it hears of them."""
    heard = (reader for reader in readers[:index] if readers[index].hears(reader))
    return frozenset(one for reader in heard for one in reader.publishes)
