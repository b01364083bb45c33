"""What the worker is told of derived types: those that somebody reads, with their programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from microbox.chain.conditions.rule import WHEN, Fault, RuleFaults
from microbox.chain.errors import ChainError
from microbox.chain.model import Chain
from microbox.chain.user_types import DeclaredRule, declared_rules
from microbox.channel.messages import Manifest, WorkerDerivedType
from microbox.events.catalog import Catalog, EventType, UnknownEventType

DERIVED_MAX = 32  # MB_DERIVED_MAX
COUNTERS_MAX = 32  # MB_DERIVED_COUNTERS_MAX

NO_COUNTERS = "counters and at_most go with what the stack publishes; the NF may count itself"

Compiled = dict[EventType, WorkerDerivedType]


def compiled_rules(
    chain: Chain, manifests: Sequence[Manifest], catalog: Catalog
) -> tuple[Compiled, list[ChainError]]:
    """The programs of all derived types of the catalog, and what is wrong with conditions."""
    rules = declared_rules(chain, manifests)
    if not rules:
        return {}, []
    compiled: Compiled = {}
    errors: list[ChainError] = []
    for rule in rules:
        derived = _type_of(rule, catalog)
        if derived is None:
            continue  # which was complained of
        try:
            compiled[derived] = _compiled(rule, derived, catalog)
        except RuleFaults as faults:
            errors += [_error(rule, one) for one in faults.faults]
    return compiled, errors


def _type_of(rule: DeclaredRule, catalog: Catalog) -> EventType | None:
    try:
        found = catalog.by_name.get(catalog.full_name(rule.name))
    except UnknownEventType:
        return None
    return found if found is not None and found.is_derived else None


def _compiled(rule: DeclaredRule, derived: EventType, catalog: Catalog) -> WorkerDerivedType:
    from microbox.chain.conditions.compiler import compile_rule  # loads the core

    assert derived.parent is not None
    if not derived.is_by_stack and (rule.rule.counters or rule.rule.at_most):
        part = next(iter(rule.rule.counters), WHEN)
        raise RuleFaults([Fault(part, 0, "NFs keep no counters of flows", NO_COUNTERS)])
    program = compile_rule(rule.rule, derived.parent, catalog)
    return WorkerDerivedType(
        type=derived.number,
        parent=derived.parent.number if derived.parent.is_derived else 0,
        bases=[one.number for one in catalog.bases(derived)],
        program=program.octets,
        step_count=program.step_count,
        counters=program.counters,
    )


def _error(rule: DeclaredRule, fault: Fault) -> ChainError:
    """With the line of the condition that it is about, and a caret."""
    text = rule.text(fault.part)
    begin = text.rfind("\n", 0, fault.offset) + 1
    line = text[begin:].partition("\n")[0]
    error = rule.error(rule.place(fault.part, fault.offset), fault.message, fault.hint)
    caret = " " * (fault.offset - begin) + "^"
    return ChainError(
        error.file, error.line, error.column, error.message, error.hint, f"{line}\n{caret}"
    )


def derived_by_nfs(
    compiled: Compiled, published: Iterable[EventType], wanted: Iterable[EventType]
) -> Compiled:
    """What an NF that publishes some types derives from them, since others want it."""
    own = {one.number for one in published}
    rules = wanted_rules(compiled, [one for one in wanted if not one.is_by_stack])
    return {one: rule for one, rule in rules.items() if own.intersection(rule.bases)}


def wanted_rules(compiled: Compiled, wanted: Iterable[EventType]) -> Compiled:
    """Those of `wanted`, with the derived types that they are derived from; parents first."""
    needed = {above for one in wanted for above in one.ancestors() if above in compiled}
    return {one: compiled[one] for one in sorted(needed, key=lambda one: one.number)}


def counting_types(compiled: Compiled) -> frozenset[EventType]:
    """Those whose condition, or that of a type above them, keeps counters of flows."""
    return frozenset(
        one
        for one in compiled
        if any(compiled[above].counters for above in one.ancestors() if above in compiled)
    )


def derived_limit_errors(
    chain: Chain, manifests: Sequence[Manifest], catalog: Catalog, rules: Compiled
) -> list[ChainError]:
    """Where more types are read than the stack can derive: at the first that is too much."""
    places = {_type_of(one, catalog): one for one in declared_rules(chain, manifests)}
    counters = 0
    for number, (derived, one) in enumerate(rules.items(), 1):
        counters += one.counters
        too_much = _excess(number, counters)
        if too_much:
            rule = places[derived]
            return [rule.error(rule.position, too_much)]
    return []


def _excess(types: int, counters: int) -> str:
    if types > DERIVED_MAX:
        return f"with it, {types} types are derived and read; expected at most {DERIVED_MAX}"
    if counters > COUNTERS_MAX:
        return f"with it, flows have {counters} counters; expected at most {COUNTERS_MAX}"
    return ""
