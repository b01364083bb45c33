"""From a class to its manifest: what it subscribes to, publishes, may do."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from microbox.channel.messages import (
    HandlerDeclaration,
    Manifest,
    TimerDeclaration,
    TypeDeclaration,
)
from microbox.events.catalog import (
    DERIVED,
    Catalog,
    DeclarationError,
    EventType,
    UnknownEventType,
    built_in,
)
from microbox.nf.decorators import (
    MarkedHandler,
    Subscription,
    Timer,
    check_types,
    handlers_of,
    where,
)
from microbox.nf.derived import DerivedEvent, derived_by
from microbox.nf.errors import DefinitionError
from microbox.nf.function import NetworkFunction
from microbox.nf.needs import check_needs
from microbox.nf.parameters import declared_by
from microbox.nf.record_schema import check_records
from microbox.nf.verdict import DROPS, LEAVES, Verdict

FLOW_STATE_HANDLER = "(flow state)"
"""The handler's name of the subscription that says when `event.flow.state` may go."""

EDITS = ("", "headers", "payload")
"""What an NF may change of packets: each includes those before it."""

PACKET_EDITS = frozenset({"edit", "push_vlan", "pop_vlan"})
"""Methods of events that edit their packets."""

FLOW_KIND_OF_PACKETS = {
    "packet.ip.tcp": "flow.tcp",
    "packet.ip.udp": "flow.udp",
    "packet.ip.icmp": "flow.icmp",
}
FLOW_KINDS = tuple(FLOW_KIND_OF_PACKETS.values())


def check_class(owner: type[NetworkFunction]) -> None:
    """Raises DefinitionError with what came, why it is wrong, what to write."""
    declared_by(owner)
    catalog = _catalog_of(owner)
    handlers = list(handlers_of(owner))
    check_types(owner, handlers, catalog)
    for name in _publishes(owner):
        _check_published(owner, name, catalog)
    for name in ("inline", "commands"):
        value = getattr(owner, name)
        if value not in (None, True, False):
            raise DefinitionError(f"{owner.__name__}.{name} is True, False or None, not {value!r}")
    _check_edits(owner)
    per_flow: object = owner.per_flow
    if per_flow not in (True, False):
        raise DefinitionError(f"{owner.__name__}.per_flow is True or False, not {per_flow!r}")
    _check_commands(owner, handlers)
    check_needs(owner)
    check_records(owner)


def _check_edits(owner: type[NetworkFunction]) -> None:
    if owner.edits not in (None, *EDITS):
        raise DefinitionError(
            f'{owner.__name__}.edits is "headers", "payload", "" or None, not {owner.edits!r:.60}'
        )
    if owner.inline is False and edits_of(owner):
        raise DefinitionError(
            f"{owner.__name__} edits packets, so they wait for it: leave out inline = False, or "
            'write edits = "" where it does not'
        )


def _check_commands(owner: type[NetworkFunction], handlers: list[MarkedHandler]) -> None:
    """The worker waits for who gives commands, who takes batches waits for the worker."""
    if not gives_commands(owner):
        return
    for one in handlers:
        if isinstance(one.mark, Subscription) and one.mark.batch:
            raise DefinitionError(
                f"{where(owner, one.name)}: an NF that unsubscribes from flows takes no batches: "
                "write @on, or commands = False in the class where it does not"
            )


def manifest_of(owner: type[NetworkFunction]) -> Manifest:
    """The manifest of an NF's class."""
    catalog = _catalog_of(owner)
    handlers, timers = [], []
    for one in handlers_of(owner):
        if isinstance(one.mark, Timer):
            timers.append(TimerDeclaration(one.name, one.mark.period, one.line))
            continue
        handlers.append(_handler(one.name, one.mark, one.line))
    handlers += _flow_state_handlers(owner, handlers, catalog)
    return Manifest(
        class_name=owner.__name__,
        file=_file_of(owner),
        doc=inspect.cleandoc(owner.__doc__ or ""),
        parameters=declared_by(owner),
        handlers=handlers,
        timers=timers,
        publishes=[catalog.resolve(name).name for name in _publishes(owner)],
        declares=declarations_of(owner),
        is_inline=is_inline(owner),
        commands=gives_commands(owner),
        is_async=is_async(owner),
        edits=edits_of(owner),
        edits_packets=edits_packets(owner),
        rewrites_flows=rewrites_flows(owner),
        per_flow=owner.per_flow,
        files=list(owner.files),
        writes=list(owner.writes),
        network=owner.network,
        records={kind: dict(fields) for kind, fields in owner.records.items()},
    )


def declarations_of(owner: type[NetworkFunction]) -> list[TypeDeclaration]:
    """The types that the class declares, by their full names: those derived from the stack's own,
    those with fields, those derived from these. Raises DefinitionError."""
    plain = [
        TypeDeclaration(_full_name(name), dict(fields)) for name, fields in owner.declares.items()
    ]
    before: list[TypeDeclaration] = []
    behind: list[TypeDeclaration] = []
    own = {one.name for one in plain if one.fields}
    for one in derived_by(owner):
        if _full_name(one.name).rpartition(".")[0] in own:
            behind.append(_derived(owner, one, [*before, *plain, *behind]))
            own.add(behind[-1].name)
        else:
            before.append(_derived(owner, one, before))
    return [*before, *plain, *behind]


def _derived(
    owner: type[NetworkFunction], one: DerivedEvent, known: list[TypeDeclaration]
) -> TypeDeclaration:
    """A type with a condition, where others are declared already."""
    try:
        declaration = TypeDeclaration(
            name=built_in().with_user_types(known).full_name(one.name),
            doc=one.doc,
            producer=DERIVED,
            when=one.when,
            counters=dict(one.counters),
            at_most=one.at_most,
            line=one.line,
        )
        built_in().with_user_types([*known, declaration])
    except (UnknownEventType, DeclarationError) as error:
        place = f"{Path(_file_of(owner)).name}:{one.line}"
        message = f"{owner.__name__}: event '{one.name}' ({place}): {error}"
        raise DefinitionError(message) from None
    return declaration


def is_inline(owner: type[NetworkFunction]) -> bool:
    """As the class says; else whether it edits, or a verdict that drops can be reached by name."""
    if owner.inline is not None:
        return owner.inline
    if edits_of(owner):
        return True
    return _can_say(owner, DROPS)


def is_async(owner: type[NetworkFunction]) -> bool:
    """Whether it runs on an event loop: something of it is to be awaited."""
    names = ["start", "finish", *(one.name for one in handlers_of(owner))]
    return any(inspect.iscoroutinefunction(getattr(owner, name)) for name in names)


def edits_of(owner: type[NetworkFunction]) -> str:
    """One of EDITS: as the class says; else as its code does."""
    if owner.edits is not None:
        return owner.edits
    names = names_in_code(owner)
    if "edit" in names and "payload" in names:
        return "payload"
    return "headers" if names & {"rewrite", *PACKET_EDITS} else ""


def edits_packets(owner: type[NetworkFunction]) -> bool:
    """Whether it edits single packets, for which those behind wait: not one that only rewrites
    flows."""
    if edits_of(owner) != "headers":
        return bool(edits_of(owner))
    names = names_in_code(owner)
    return "rewrite" not in names or bool(names & PACKET_EDITS)


def rewrites_flows(owner: type[NetworkFunction]) -> bool:
    """Whether it rewrites flows, for which fragments wait at the gate: not one that only edits
    single packets."""
    names = names_in_code(owner)
    return bool(edits_of(owner)) and ("rewrite" in names or not names & PACKET_EDITS)


def gives_commands(owner: type[NetworkFunction]) -> bool:
    """As the class says; else whether its code speaks of (un)subscribing or names a verdict on
    flows, or a handler can be switched."""
    if owner.commands is not None:
        return owner.commands
    if names_in_code(owner) & {"unsubscribe", "subscribe"}:
        return True
    marks = [one.mark for one in handlers_of(owner) if isinstance(one.mark, Subscription)]
    if any(mark.switch for mark in marks):
        return True
    return _can_say(owner, LEAVES) and not any(mark.batch for mark in marks)


def _can_say(owner: type[NetworkFunction], verdicts: Collection[Verdict]) -> bool:
    """Whether one of these verdicts can be reached by name, or by another name in the module."""
    if names_in_code(owner) & {verdict.name for verdict in verdicts}:
        return True
    modules = (inspect.getmodule(base) for base in _own_classes(owner))
    values = (value for module in modules for value in vars(module).values())
    return any(value is verdict for value in values for verdict in verdicts)


def needs_flow_ends(owner: type[NetworkFunction]) -> bool:
    """Whether the code mentions `flow` and `state`, as in `event.flow.state`: the state is kept
    until the flow ends."""
    return {"flow", "state"} <= names_in_code(owner)


def names_in_code(owner: type[NetworkFunction]) -> frozenset[str]:
    """All names, attributes and keywords in the methods of the class, inner functions included, and
    in the functions of its module."""
    codes: list[CodeType] = []
    for base in _own_classes(owner):
        module = inspect.getmodule(base)
        values = [*vars(base).values(), *(vars(module).values() if module else ())]
        codes += [
            value.__code__
            for value in values
            if inspect.isfunction(value) and value.__module__ == base.__module__
        ]
    return frozenset(name for code in codes for name in _names(code))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif isinstance(constant, tuple):  # keywords of a call are one of these
            yield from (one for one in constant if isinstance(one, str))


def _own_classes(owner: type) -> list[type]:
    return [
        base
        for base in owner.__mro__
        if issubclass(base, NetworkFunction) and base is not NetworkFunction
    ]


def _publishes(owner: type[NetworkFunction]) -> list[str]:
    publishes: Any = owner.publishes
    if isinstance(publishes, str):
        raise DefinitionError(
            f'{owner.__name__}.publishes is a list of names: write publishes = ["{publishes}"]'
        )
    names = list(dict.fromkeys(publishes))
    if "alert" in names_in_code(owner) and "alert" not in names:
        names.append("alert")
    return names


def _check_published(owner: type, name: Any, catalog: Catalog) -> None:
    try:
        found = catalog.resolve(name)
    except UnknownEventType as error:
        raise DefinitionError(f"{owner.__name__}.publishes: {error}") from None
    if found.producer in ("nf", "user") or found.producer.startswith("parser_"):
        return
    raise DefinitionError(
        f"{owner.__name__}.publishes: '{found.name}' cannot be published by an NF "
        f"(producer: {found.producer}); declare a type of your own below it in `declares`"
    )


def _catalog_of(owner: type[NetworkFunction]) -> Catalog:
    declares: Any = owner.declares
    if not isinstance(declares, Mapping) or not all(
        isinstance(fields, Mapping) for fields in declares.values()
    ):
        raise DefinitionError(
            f"{owner.__name__}.declares maps names to fields: write "
            'declares = {"tcp.data.smtp": {"command": "text"}}'
        )
    try:
        return built_in().with_user_types(declarations_of(owner))
    except DeclarationError as error:
        raise DefinitionError(f"{owner.__name__}.declares: {error}") from None


def _full_name(name: str) -> str:
    """Users may shorten the parent's name; of a parent of their own, the leading `flow.`."""
    with contextlib.suppress(UnknownEventType):
        return built_in().full_name(name)
    first = name.split(".", maxsplit=1)[0]
    return f"flow.{name}" if f"flow.{first}" in built_in().by_name else name


def _handler(name: str, mark: Subscription, line: int) -> HandlerDeclaration:
    return HandlerDeclaration(
        name, list(mark.types), mark.filter, mark.batch, line, mark.switch, mark.initially
    )


def _flow_state_handlers(
    owner: type[NetworkFunction], handlers: list[HandlerDeclaration], catalog: Catalog
) -> list[HandlerDeclaration]:
    """The ends of the flows that it sees, so that their state can go. No filter: a filter on one
    direction may miss the end."""
    if not needs_flow_ends(owner):
        return []
    seen = [catalog.resolve(name) for one in handlers for name in one.types]
    ends = dict.fromkeys(end for one in seen for end in _ends_of(one, catalog))
    return [HandlerDeclaration(FLOW_STATE_HANDLER, list(ends))] if ends else []


def _ends_of(seen: EventType, catalog: Catalog) -> list[str]:
    """Full names of the types that end flows which an event of this type may belong to."""
    kinds = [one.name for one in seen.ancestors() if one.name in FLOW_KINDS]
    if kinds:
        return [f"{kinds[0]}.end"]
    if seen.name in FLOW_KIND_OF_PACKETS:
        return [f"{FLOW_KIND_OF_PACKETS[seen.name]}.end"]
    return flow_ends(catalog)


def flow_ends(catalog: Catalog) -> list[str]:
    """Full names of the types that end a flow: those whose payload is a flow's end."""
    return [one.name for one in catalog.types if one.is_built_in and one.payload == "flow_end"]


def _file_of(owner: type) -> str:
    try:
        return inspect.getfile(owner)
    except (OSError, TypeError):
        return ""
