"""The event hierarchy as Python sees it, read from the tables that C expands.

`built_in()` is the catalog of this version; `Catalog.with_user_types` adds the types that the NFs
of a chain declare.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

TYPES_MAX = 512  # MB_TYPES_MAX
TEXTS_MAX = 30  # MB_TEXTS_MAX
DERIVED = "condition"  # the producer of types that the stack derives
USER_FIELD_TYPES = ("u8", "u16", "u32", "u64", "i64", "f64", "text")
NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")

# Names that every event has: a user's field must not hide them.
EVENT_ATTRIBUTES = frozenset(
    "type name time packet flow direction reason snapshot data frame sequence cause".split()
)


class UnknownEventType(LookupError):
    """No type has this name, or more than one does."""

    def __init__(self, message: str, nearest: list[str]) -> None:
        super().__init__(message)
        self.nearest = nearest


class DeclarationError(ValueError):
    """An event type of a user's own that cannot be added."""


class TypeDeclaration(Protocol):
    """A user's type: `fields` (name → one of `USER_FIELD_TYPES`) follow the parent's payload."""

    @property
    def name(self) -> str:
        """Its full dotted name."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Fields after the parent's, in the order of the layout."""

    @property
    def doc(self) -> str:
        """A sentence about it."""

    @property
    def producer(self) -> str:
        """Who publishes it: "user", an NF; "module_NAME", a user's module of the stack; DERIVED,
        the stack, for those of its parent's events that fit `condition`."""

    @property
    def condition(self) -> str:
        """Of a derived type: when, in words. Else ""."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a payload, as an event's attribute."""

    name: str
    c_type: str  # as declared: "uint64_t", "struct mb_text", "uint8_t[16]"; a user's: "u32"
    path: tuple[str, ...]  # members from the payload's struct on: ("flow", "tuple", "source_port")
    doc: str
    owner: str  # struct or user type that declares it: "flow", "http_request"

    @property
    def type_name(self) -> str:
        """The type in a user's words: text, address, u16, ..."""
        if self.c_type == "struct mb_text":
            return "text"
        if self.c_type == "uint8_t[16]":
            return "address"
        return re.sub(r"^u?int(\d+)_t", self._short, self.c_type)

    @property
    def is_time(self) -> bool:
        """True where it is nanoseconds since the epoch."""
        return (self.owner, self.name) == ("flow_end", "started")

    def _short(self, match: re.Match[str]) -> str:
        return ("u" if self.c_type.startswith("u") else "i") + match[1]


@dataclass(frozen=True, slots=True, eq=False)
class EventType:
    """A node of the hierarchy. A catalog has each type once: compare by identity."""

    number: int
    name: str  # full: "flow.tcp.data.http.request"
    parent: EventType | None = field(repr=False)
    payload: str  # struct without its "mb_"; "none"; for a user's type with fields its own name
    producer: str
    doc: str
    fields: tuple[Field, ...] = field(repr=False)  # inherited ones first
    own_fields: tuple[Field, ...] = field(default=(), repr=False)  # declared by a user, here
    condition: str = ""  # of a derived type: which of its parent's events it is

    @property
    def is_abstract(self) -> bool:
        """True where nobody publishes the type itself, only its descendants."""
        return self.producer == "abstract"

    @property
    def is_by_stack(self) -> bool:
        """True where the stack or its worker publishes the type, not an NF."""
        if self.is_derived:
            return self.derived_from.is_by_stack or self.derived_from.is_abstract
        return self.producer not in ("abstract", "nf", "user") and not self.parser

    @property
    def parser(self) -> str:
        """Name of the parser that publishes the type: "http"; "" where none does."""
        return _name_behind("parser_", self.derived_from.producer)

    @property
    def derived_from(self) -> EventType:
        """The type that it was derived from by conditions: itself where it was not."""
        return next(one for one in self.ancestors() if not one.is_derived)

    @property
    def module(self) -> str:
        """Name of the user's module of the stack that publishes the type; "" where none does."""
        return _name_behind("module_", self.producer)

    @property
    def is_derived(self) -> bool:
        """True where it is published behind those events of its parent that fit a user's condition:
        by who publishes these."""
        return self.producer == DERIVED

    @property
    def is_built_in(self) -> bool:
        """False for types that users declare."""
        return self.producer not in ("user", DERIVED) and not self.module

    @property
    def has_packet(self) -> bool:
        """False for timers and system events."""
        return not self.name.startswith(("timer", "system"))

    @property
    def struct(self) -> str:
        """The C struct that the payload begins with ("none" for no payload)."""
        if self.own_fields or not self.is_built_in:
            return self.parent.struct if self.parent else "none"
        return self.payload

    @property
    def extra_fields(self) -> tuple[Field, ...]:
        """Fields that users declared, this type's and its parents', in the order of the layout."""
        inherited = self.parent.extra_fields if self.parent and not self.is_built_in else ()
        return inherited + self.own_fields

    def ancestors(self) -> Iterator[EventType]:
        """This type, its parent, and so on up to the root."""
        node: EventType | None = self
        while node is not None:
            yield node
            node = node.parent


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was dropped, ended, or is unusual."""

    number: int
    symbol: str
    name: str
    severity: str  # info, notice, warning, error
    doc: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct of payloads.h."""

    name: str
    c_type: str
    doc: str


@dataclass(frozen=True)
class Catalog:
    """All types and reasons. `structs` are the payloads' members by struct ("tcp_data", ...)."""

    types: tuple[EventType, ...]
    reasons: tuple[Reason, ...]
    structs: Mapping[str, tuple[Member, ...]] = field(repr=False)

    @functools.cached_property
    def by_name(self) -> dict[str, EventType]:
        """The types by their full names."""
        return {one.name: one for one in self.types}

    def by_number(self, number: int) -> EventType:
        """The type with this number. Raises UnknownEventType."""
        if not 0 <= number < len(self.types):
            raise UnknownEventType(f"no event type has the number {number}", [])
        return self.types[number]

    def resolve(self, name: str) -> EventType:
        """The type called `name`: its full name, or an end of it that no other type has.

        Where several types end so, the one nearest to the root is meant, if there is just one:
        "tcp" is flow.tcp, "packet" is packet. Raises UnknownEventType.
        """
        wanted = name.removeprefix("event.")
        exact = self.by_name.get(wanted) or self.by_name.get(f"flow.{wanted}")
        if exact is not None:
            return exact
        ending = [one for one in self.types if one.name.endswith(f".{wanted}")]
        if len(ending) == 1:
            return ending[0]
        if ending:
            names = ", ".join(one.name for one in ending)
            raise UnknownEventType(
                f"event type '{name}' is ambiguous: {names}", [one.name for one in ending]
            )
        raise self._unknown(name)

    def _unknown(self, name: str) -> UnknownEventType:
        candidates: dict[str, str] = {}
        for one in self.types:
            labels = one.name.split(".")
            for start in range(len(labels)):
                candidates.setdefault(".".join(labels[start:]), one.name)
            candidates[one.name] = one.name
        matches = difflib.get_close_matches(name, candidates, n=6, cutoff=0.6)
        nearest = list(dict.fromkeys(candidates[match] for match in matches))[:3]
        hint = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
        return UnknownEventType(f"unknown event type '{name}'{hint}", nearest)

    def descendants(self, of: EventType) -> tuple[EventType, ...]:
        """`of` and all types below it, by number."""
        return tuple(one for one in self.types if of in one.ancestors())

    def delivered(self, to: EventType) -> tuple[EventType, ...]:
        """What a subscription to a type brings, by number: the type, and all types below it.

        One exception: a type that the stack publishes (`tcp.data`) does not bring what NFs publish
        below it (`http.request`), nor what users derive from it. Those events are made of some that
        the subscriber has got already, and whether there are any depends on the rest of the chain.
        They come where they are named, or a type above them that nobody publishes (`http`, `tcp`,
        `event`).
        """
        below = self.descendants(to)
        if to.is_abstract:
            return below
        if not to.is_by_stack:
            return tuple(one for one in below if one is to or not one.is_derived)
        return tuple(one for one in below if one is to or (one.is_by_stack and not one.is_derived))

    def full_name(self, name: str) -> str:
        """The full name of a type to be declared, whose parent's name may be shortened.

        Raises UnknownEventType where it has no parent.
        """
        parent, _, label = name.rpartition(".")
        return f"{self.resolve(parent).name}.{label}" if parent else name

    def bases(self, of: EventType) -> tuple[EventType, ...]:
        """The types, all of the stack's own or all of NFs, whose events a derived type is found
        among."""
        below = self.delivered(of.derived_from)
        return tuple(
            one for one in below if one.is_by_stack == of.is_by_stack and _can_be_base(one)
        )

    def with_user_types(self, declarations: Iterable[TypeDeclaration]) -> Catalog:
        """A catalog that has the users' types too, numbered in the order given.

        A declaration that repeats an earlier one word by word is the same type: so every NF can
        declare what it reads. One without fields and condition may repeat that of a derived type.
        Raises DeclarationError.
        """
        types = list(self.types)
        names = dict(self.by_name)
        declared: dict[str, TypeDeclaration] = {}
        for one in declarations:
            if one.name in declared and _is_same(one, declared[one.name]):
                continue
            self._check_declaration(one, names, declared)
            declared[one.name] = one
            added = _user_type(len(types), one, names)
            types.append(added)
            names[one.name] = added
        return Catalog(tuple(types), self.reasons, self.structs)

    def _check_declaration(
        self,
        one: TypeDeclaration,
        names: Mapping[str, EventType],
        declared: Mapping[str, object],
    ) -> None:
        if not NAME.fullmatch(one.name) or "." not in one.name:
            raise DeclarationError(
                f"'{one.name}' is no name for an event type: expected lower-case words joined by "
                "dots, the parent's first, as in 'tcp.data.smtp'"
            )
        if one.name in declared:
            what = "conditions" if one.condition else "fields"
            raise DeclarationError(f"event type '{one.name}' is declared twice, with other {what}")
        if one.name in names:
            raise DeclarationError(f"event type '{one.name}' exists already")
        if len(names) >= TYPES_MAX:
            raise DeclarationError(f"more than {TYPES_MAX} event types")
        parent = one.name.rpartition(".")[0]
        if parent not in names:
            near = difflib.get_close_matches(parent, names, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ": declare it first"
            raise DeclarationError(f"event type '{one.name}' has no parent '{parent}'{hint}")
        if one.condition:
            _check_derivation(one, names[parent])
        texts = [*(each.c_type for each in names[parent].fields), *one.fields.values()]
        if sum(kind in ("text", "struct mb_text") for kind in texts) > TEXTS_MAX:
            raise DeclarationError(f"'{one.name}' has more than {TEXTS_MAX} texts")
        inherited = {each.name for each in names[parent].fields} | EVENT_ATTRIBUTES
        for name, kind in one.fields.items():
            if not NAME.fullmatch(name) or "." in name:
                raise DeclarationError(f"'{name}' of '{one.name}' is no name for a field")
            if name in inherited:
                raise DeclarationError(f"'{one.name}' has a field '{name}' already")
            if kind not in USER_FIELD_TYPES:
                raise DeclarationError(
                    f"field '{name}' of '{one.name}' is of unknown type '{kind}': "
                    f"expected one of {', '.join(USER_FIELD_TYPES)}"
                )


def _name_behind(kind: str, producer: str) -> str:
    return producer.removeprefix(kind) if producer.startswith(kind) else ""


def _user_type(number: int, one: TypeDeclaration, names: Mapping[str, EventType]) -> EventType:
    parent = names[one.name.rpartition(".")[0]]
    own = tuple(Field(name, kind, (name,), "", one.name) for name, kind in one.fields.items())
    return EventType(
        number=number,
        name=one.name,
        parent=parent,
        payload=one.name if own else parent.payload,
        producer=one.producer,
        doc=one.doc,
        fields=parent.fields + own,
        own_fields=own,
        condition=one.condition,
    )


def _is_same(one: TypeDeclaration, earlier: TypeDeclaration) -> bool:
    is_bare = not one.fields and not one.condition
    if is_bare and earlier.condition:
        return True
    return (list(one.fields.items()), one.condition) == (
        list(earlier.fields.items()),
        earlier.condition,
    )


def _can_be_base(one: EventType) -> bool:
    return one.has_packet and not one.is_derived


def _check_derivation(one: TypeDeclaration, parent: EventType) -> None:
    if one.fields:
        raise DeclarationError(f"'{one.name}' has a condition: it has its parent's fields alone")
    if not parent.has_packet:
        raise DeclarationError(
            f"'{one.name}' cannot have a condition: its parent '{parent.name}' is not about packets"
        )


# --- reading the tables ---

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_EVENT = re.compile(rf"^EVENT\((\w+), {_TEXT}, (\w+), (\w+), (\w+), {_TEXT}\)", re.MULTILINE)
_REASON = re.compile(rf"^REASON\((\w+), {_TEXT}, (\w+), {_TEXT}\)", re.MULTILINE)
_STRUCT = re.compile(r"^struct mb_(\w+) \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(
    r"^ *(?P<type>(?:struct )?\w+) (?P<name>\w+)(?P<array>\[\d+\])?; *(?:/\*(?P<doc>.*?)\*/)?",
    re.MULTILINE | re.DOTALL,
)


def _package_text(name: str) -> str:
    return importlib.resources.files("microbox.events").joinpath(name).read_text()


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def read_structs(header: str) -> dict[str, tuple[Member, ...]]:
    """The structs of a header in the plain style of payloads.h, by name without "mb_"."""
    return {
        name: tuple(
            Member(one["name"], one["type"] + (one["array"] or ""), _sentence(one["doc"]))
            for one in _MEMBER.finditer(body)
        )
        for name, body in _STRUCT.findall(header)
    }


def payload_fields(
    structs: Mapping[str, tuple[Member, ...]], struct: str, path: tuple[str, ...] = ()
) -> Iterator[Field]:
    """The leaves of a payload's struct, without padding; nested structs are laid flat."""
    for member in structs.get(struct, ()):
        inner = member.c_type.removeprefix("struct mb_")
        here = (*path, member.name)
        if member.name == "reserved":
            continue
        if inner not in (member.c_type, "text"):
            yield from payload_fields(structs, inner, here)
            continue
        yield Field(member.name, member.c_type, here, member.doc, struct)


def _read_types(table: str, structs: Mapping[str, tuple[Member, ...]]) -> tuple[EventType, ...]:
    by_symbol: dict[str, EventType] = {}
    for number, row in enumerate(_EVENT.findall(table)):
        symbol, name, parent, payload, producer, doc = row
        if payload != "none" and payload not in structs:
            raise ValueError(f"types.def: {name} has the unknown payload '{payload}'")
        fields = tuple(payload_fields(structs, payload))
        hidden = EVENT_ATTRIBUTES.intersection(one.name for one in fields)
        if hidden:
            raise ValueError(f"payloads.h: {payload} hides what every event has: {hidden}")
        by_symbol[symbol] = EventType(
            number,
            name,
            None if parent == symbol else by_symbol[parent],
            payload,
            producer,
            doc,
            fields,
        )
    return tuple(by_symbol.values())


@functools.cache
def built_in() -> Catalog:
    """The types and reasons that this version declares."""
    structs = read_structs(_package_text("payloads.h"))
    reasons = _REASON.findall(_package_text("reasons.def"))
    return Catalog(
        _read_types(_package_text("types.def"), structs),
        tuple(Reason(number, *row) for number, row in enumerate(reasons)),
        structs,
    )
