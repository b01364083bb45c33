"""Which of the stack's modules a chain needs, and which subscription each of them is there for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from microbox.chain.model import ChainModule
from microbox.chain.subscriptions import short_name
from microbox.channel.messages import Bit, HandlerDeclaration, Manifest
from microbox.events.catalog import Catalog, EventType

# producer → module of the stack as users write it, and the modules that it builds on
MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "tcp_monitor": ("tcp.monitor", ()),
    "tcp_stream": ("tcp.stream", ("tcp_monitor",)),
    "udp": ("udp", ()),
    "icmp": ("icmp", ()),
    "flow": ("flow", ()),
}


@dataclass(frozen=True, slots=True)
class ModuleNeed:
    """A module of the stack, and who causes it to run: NF and type as its handler names it."""

    name: str
    because: tuple[tuple[str, str], ...]


def _all_modules(users: Sequence[ChainModule]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """MODULES and the users' own."""
    return MODULES | {f"module_{one.name}": (one.name, _needs_of(one)) for one in users}


def _with_needed(
    producer: str, modules: Mapping[str, tuple[str, tuple[str, ...]]]
) -> tuple[str, ...]:
    """The module that publishes, after those that it builds on; none for what needs no module."""
    return (*modules[producer][1], producer) if producer in modules else ()


def _transport_of(one: EventType) -> str:
    """Of the flows that have such events: tcp, udp, icmp, other."""
    parts = one.name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ("tcp", "udp", "icmp") else "other"


def needed_modules(
    nfs: Iterable[tuple[str, Manifest, Sequence[Bit]]],
    catalog: Catalog,
    users: Sequence[ChainModule] = (),
) -> list[ModuleNeed]:
    """The stack's modules in the order in which they run, with the subscriptions behind each."""
    modules = _all_modules(users)
    causes: dict[str, list[tuple[str, str]]] = {producer: [] for producer in modules}
    for name, manifest, bits in nfs:
        numbers = {number for bit in bits for number in bit.types}
        for producer, written in _module_causes(manifest, numbers, catalog):
            for needed in _with_needed(producer, modules):
                if (name, written) not in causes[needed]:
                    causes[needed].append((name, written))
    return [
        ModuleNeed(modules[producer][0], tuple(because))
        for producer, because in causes.items()
        if because
    ]


def _needs_of(module: ChainModule) -> tuple[str, ...]:
    """Producers of the built-in modules that a user's builds on."""
    direct = [one for bit, one in enumerate(MODULES) if module.needs >> bit & 1]
    below = [needed for one in direct for needed in MODULES[one][1]]
    return tuple(dict.fromkeys([*below, *direct]))


def _module_causes(
    manifest: Manifest, numbers: set[int], catalog: Catalog
) -> Iterator[tuple[str, str]]:
    """Pairs of a producer and the subscription that needs it. Packets need no module."""
    for handler in manifest.handlers:
        for named in map(catalog.resolve, handler.types):
            for one in catalog.delivered(named):
                if one.number in numbers:
                    for source in _sources(one, catalog):
                        yield source.producer, short_name(named, catalog)


def _sources(one: EventType, catalog: Catalog) -> Iterable[EventType]:
    """The type itself; of a derived one, those that it is derived from."""
    return catalog.bases(one) if one.is_derived else (one,)


def modules_of(
    handler: HandlerDeclaration, catalog: Catalog, users: Sequence[ChainModule]
) -> dict[str, list[str]]:
    """The modules that a flow runs for this handler, by transport: those of the types that the
    stack publishes, and what they build on."""
    modules = _all_modules(users)
    found: dict[str, set[str]] = {}
    for named in map(catalog.resolve, handler.types):
        for one in catalog.delivered(named):
            for source in _sources(one, catalog):
                for producer in _with_needed(source.producer, modules):
                    found.setdefault(_transport_of(source), set()).add(modules[producer][0])
    return {transport: sorted(names) for transport, names in sorted(found.items())}
