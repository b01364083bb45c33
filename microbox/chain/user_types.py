"""Event types that a chain and its NFs declare, added to the built-in ones.

Types that the stack derives come first, those of the chain file before those of NFs, parents before
children; then what NFs publish themselves, and what is derived from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from microbox.chain.conditions.rule import WHEN, Rule
from microbox.chain.errors import ChainError, Position, did_you_mean
from microbox.chain.model import Chain, ChainEvent, ChainNF
from microbox.chain.modules import module_types
from microbox.chain.sources import text_position
from microbox.channel.messages import Manifest, TypeDeclaration
from microbox.events.catalog import DERIVED, Catalog, DeclarationError, UnknownEventType


@dataclass(frozen=True)
class DeclaredRule:
    """A derived type as somebody declares it, and where."""

    name: str  # its parent's name in front
    rule: Rule
    doc: str
    by: str  # "": the chain file; else the NF
    file: str
    position: Position
    parent_position: Position
    event: ChainEvent | None = None  # of the chain file

    @property
    def parent(self) -> str:
        """As written."""
        return self.name.rpartition(".")[0]

    def error(self, position: Position, message: str, hint: str = "") -> ChainError:
        """In the words of who declared it."""
        who = f"{self.by}: " if self.by else ""
        return ChainError.at(self.file, position, f"{who}event '{self.name}': {message}", hint)

    def text(self, part: str) -> str:
        """The condition, or what a counter counts."""
        return self.rule.when if part == WHEN else self.rule.counters[part]

    def place(self, part: str, offset: int) -> Position:
        """Where a character of a part stands."""
        if self.event is not None:
            places = self.event.places[part]
            return places[min(offset, len(places) - 1)]
        line, column = text_position(Path(self.file), self.text(part), self.position.line)
        above = self.text(part)[:offset].rpartition("\n")
        if above[1]:
            return Position(line + above[0].count("\n") + 1, len(above[2]) + 1)
        return Position(line, column + offset)

    def declaration(self, catalog: Catalog) -> TypeDeclaration:
        """With its full name. Raises UnknownEventType where it has no parent."""
        return TypeDeclaration(
            name=catalog.full_name(self.name),
            doc=self.doc,
            producer=DERIVED,
            when=self.rule.when,
            counters=dict(self.rule.counters),
            at_most=self.rule.at_most,
        )


def declared_rules(chain: Chain, manifests: Sequence[Manifest]) -> list[DeclaredRule]:
    """All derived types, as they are declared; two NFs may declare the same."""
    rules = [_rule_of_file(chain, one) for one in chain.events]
    for nf, manifest in zip(chain.nfs, manifests, strict=True):
        rules += [_rule_of_nf(nf, one) for one in manifest.declares if one.when]
    return rules


def _rule_of_file(chain: Chain, one: ChainEvent) -> DeclaredRule:
    name = f"{one.parent}.{one.name}" if one.parent else one.name
    parent_position = one.parent_position if one.parent else one.position
    return DeclaredRule(
        name, one.rule, one.doc, "", chain.file, one.position, parent_position, event=one
    )


def _rule_of_nf(nf: ChainNF, one: TypeDeclaration) -> DeclaredRule:
    place = Position(one.line, 1)
    rule = Rule(one.when, one.counters, one.at_most)
    return DeclaredRule(one.name, rule, one.doc, nf.name, str(nf.source), place, place)


def user_catalog(
    chain: Chain,
    manifests: Sequence[Manifest],
    catalog: Catalog,
    known: Sequence[TypeDeclaration] = (),
) -> tuple[Catalog, list[TypeDeclaration], list[ChainError]]:
    """The catalog with all types that the chain, its modules and its NFs declare, those types in
    the order of their numbers, and what is wrong with the rest. Two may declare the same type with
    the same fields: so an NF says what it reads. `known`: those that have their numbers already."""
    declarations = list(known) or module_types(chain)
    errors: list[ChainError] = []
    pending = _add_derived(declared_rules(chain, manifests), catalog, declarations, errors)
    extended = catalog.with_user_types(declarations)
    for nf, manifest in zip(chain.nfs, manifests, strict=True):
        for declared in manifest.declares:
            if declared.when or _is_reference(declared, pending):
                continue
            declaration = replace(declared, producer="user")  # whatever its process says
            try:
                extended = catalog.with_user_types([*declarations, declaration])
            except DeclarationError as error:
                message = f"{nf.name} ({manifest.class_name}) declares: {error}"
                errors.append(ChainError.at(chain.file, nf.position, message))
                continue
            if len(extended.types) > len(catalog.types) + len(declarations):
                declarations.append(declaration)
    # What is derived from types of NFs.
    pending = _add_derived(pending, catalog, declarations, errors)
    extended = catalog.with_user_types(declarations)
    errors += [_without_parent(rule, pending, extended) for rule in pending]
    return extended, declarations, errors


def _add_derived(
    rules: Sequence[DeclaredRule],
    catalog: Catalog,
    declarations: list[TypeDeclaration],
    errors: list[ChainError],
) -> list[DeclaredRule]:
    """Adds those of all rules whose parents are known, parents first, and what is wrong with them.
    Returns the rest."""
    extended = catalog.with_user_types(declarations)
    pending = list(rules)
    while pending:
        ready = [rule for rule in pending if _has_parent(rule, extended)]
        if not ready:
            break
        pending = [rule for rule in pending if rule not in ready]
        for rule in ready:
            declaration = rule.declaration(extended)
            try:
                extended = catalog.with_user_types([*declarations, declaration])
            except DeclarationError as error:
                errors.append(rule.error(rule.position, str(error)))
                continue
            if len(extended.types) > len(catalog.types) + len(declarations):
                declarations.append(declaration)
    return pending


def _is_reference(declared: TypeDeclaration, rules: Sequence[DeclaredRule]) -> bool:
    """True where an NF only says that it reads what one of the rules derives."""
    return not declared.fields and any(
        f".{declared.name}".endswith(f".{rule.name}") for rule in rules
    )


def _has_parent(rule: DeclaredRule, catalog: Catalog) -> bool:
    try:
        catalog.full_name(rule.name)
    except UnknownEventType:
        return False
    return True


def _without_parent(
    rule: DeclaredRule, pending: Sequence[DeclaredRule], catalog: Catalog
) -> ChainError:
    around = _way_around(rule, pending)
    if around:
        names = " → ".join(f"'{one.name}'" for one in around)
        return rule.error(rule.parent_position, f"its parents go round in a circle: {names}")
    try:
        catalog.resolve(rule.parent)
    except UnknownEventType as error:
        hint = did_you_mean(rule.parent, error.nearest) or _first_of(error.nearest)
        message = f"its parent '{rule.parent}' is no event type that `microbox events` lists"
        return rule.error(rule.parent_position, message, hint)
    raise AssertionError("a rule with a parent is not pending")


def _first_of(names: Sequence[str]) -> str:
    return f"did you mean '{names[0]}'?" if names else ""


def _way_around(rule: DeclaredRule, pending: Sequence[DeclaredRule]) -> list[DeclaredRule]:
    """From the rule up to itself again; empty where the way up ends."""
    way = [rule]
    while True:
        above = next((one for one in pending if _is_named(one, way[-1].parent)), None)
        if above is None:
            return []
        if above is rule:
            return [*way, rule]
        if above in way:
            return []
        way.append(above)


def _is_named(rule: DeclaredRule, name: str) -> bool:
    """A rule goes by any end of its name."""
    return f".{rule.name}".endswith(f".{name}")
