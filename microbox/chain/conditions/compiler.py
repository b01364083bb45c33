"""From conditions to a program: what each part means, whether kinds of values fit, and its steps.

A rule is the condition (`when`), the counters that it may name, and how often it may hold on a flow
(`at_most`). For each event, counters are worked out first, in their order: a counter's condition
adds 1 where it holds, a counter's number is added. So a counter that is named includes the event in
hand.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from microbox._core import lib
from microbox.chain.conditions.fields import DATA, Field, Kind, fields_of
from microbox.chain.conditions.rule import WHEN, Fault, Rule, RuleFaults
from microbox.chain.conditions.steps import Program, Step, TooLong, assemble
from microbox.chain.conditions.syntax import (
    WORDS,
    Address,
    Binary,
    Index,
    Membership,
    Name,
    Network,
    Node,
    Number,
    Octets,
    Range,
    SyntaxFault,
    Truth,
    Unary,
    parse,
)
from microbox.events.catalog import NAME, Catalog, EventType

COUNTERS_MAX = 8  # MB_CONDITION_COUNTERS_MAX
# IPv4 addresses in IPv6 (RFC 4291 section 2.5.5.2). No IPv6 network is meant to hold them.
_MAPPED_NETWORK = IPv6Network("::ffff:0:0/96")
_MAPPED = _MAPPED_NETWORK.network_address.packed[:12]
_ADDRESS_BITS = 128

_EQUALITY = {"==": lib.MB_STEP_EQUAL, "!=": lib.MB_STEP_UNEQUAL}
_ORDER = {
    "<": lib.MB_STEP_LESS,
    "<=": lib.MB_STEP_AT_MOST,
    ">": lib.MB_STEP_GREATER,
    ">=": lib.MB_STEP_AT_LEAST,
}
_ARITHMETIC = {
    "+": lib.MB_STEP_ADD,
    "-": lib.MB_STEP_SUBTRACT,
    "*": lib.MB_STEP_MULTIPLY,
    "/": lib.MB_STEP_DIVIDE,
    "%": lib.MB_STEP_MODULO,
    "&": lib.MB_STEP_BITS_AND,
    "|": lib.MB_STEP_BITS_OR,
}
_SKIPS = {"and": lib.MB_STEP_SKIP_IF_FALSE, "or": lib.MB_STEP_SKIP_IF_TRUE}
_ORDERED = (Kind.NUMBER, Kind.DURATION, Kind.TIME)
_PLAIN = (*_ORDERED, Kind.TRUTH, Kind.REASON, Kind.STATE)

# What arithmetic makes of two kinds; all else makes no sense.
_RESULTS: dict[tuple[str, Kind, Kind], Kind] = {
    **{(operator, Kind.NUMBER, Kind.NUMBER): Kind.NUMBER for operator in _ARITHMETIC},
    **{(operator, Kind.DURATION, Kind.DURATION): Kind.DURATION for operator in "+-%"},
    ("/", Kind.DURATION, Kind.DURATION): Kind.NUMBER,
    ("*", Kind.DURATION, Kind.NUMBER): Kind.DURATION,
    ("*", Kind.NUMBER, Kind.DURATION): Kind.DURATION,
    ("/", Kind.DURATION, Kind.NUMBER): Kind.DURATION,
    ("-", Kind.TIME, Kind.TIME): Kind.DURATION,
    ("+", Kind.TIME, Kind.DURATION): Kind.TIME,
    ("+", Kind.DURATION, Kind.TIME): Kind.TIME,
    ("-", Kind.TIME, Kind.DURATION): Kind.TIME,
}


def compile_rule(rule: Rule, on: EventType, catalog: Catalog) -> Program:
    """The rule's program for events of type `on` and those below it. Raises RuleFaults."""
    compiler = _Compiler(fields_of(on, catalog), on.name)
    steps: list[Step] = []
    for number, (name, text) in enumerate(rule.counters.items()):
        compiler.part = name
        compiler.check_counter(name)
        steps += [*compiler.counted(text), Step(lib.MB_STEP_COUNT, place=number)]
        compiler.fields[name] = Field(Kind.NUMBER, (Step(lib.MB_STEP_COUNTER, place=number),))
    compiler.part = WHEN
    steps += compiler.condition(rule.when)
    count = len(rule.counters)
    if rule.at_most:
        steps += _at_most(count, rule.at_most)
        count += 1
    if count > COUNTERS_MAX:
        compiler.fault(0, f"{count} counters; expected at most {COUNTERS_MAX}, `at_most` included")
    if compiler.faults:
        raise RuleFaults(list(dict.fromkeys(compiler.faults)))
    try:
        return assemble(steps, count)
    except TooLong as error:
        raise RuleFaults([Fault(WHEN, 0, f"the condition is too long: {error}")]) from None


def _at_most(counter: int, times: int) -> list[Step]:
    """Behind a condition: it holds no more when it has held so often, else that is counted."""
    counting = [
        Step(lib.MB_STEP_PUSH, value=1),
        Step(lib.MB_STEP_COUNT, place=counter),
        Step(lib.MB_STEP_PUSH, value=1),
    ]
    limit = [
        Step(lib.MB_STEP_COUNTER, place=counter),
        Step(lib.MB_STEP_LESS, width=1, value=times),
        Step(lib.MB_STEP_SKIP_IF_FALSE, skip=len(counting)),
        *counting,
    ]
    return [Step(lib.MB_STEP_SKIP_IF_FALSE, skip=len(limit)), *limit]


@dataclass(frozen=True, slots=True)
class _Value:
    """What an expression is. `kind` None: it was complained of already. `names`: words that stand
    for values of it."""

    kind: Kind | None
    steps: tuple[Step, ...] = ()
    place: int = 0  # of an address
    names: Mapping[str, int] | None = None

    def is_a(self, *kinds: Kind) -> bool:
        return self.kind is None or self.kind in kinds


_UNKNOWN = _Value(None)


class _Compiler:
    """Goes through a tree once. What is wrong is noted, and the rest is looked at all the same."""

    def __init__(self, fields: dict[str, Field], type_name: str) -> None:
        self.fields = fields
        self.faults: list[Fault] = []
        self.part = WHEN
        self._type_name = type_name
        self._values: dict[type, Callable[[Any], _Value]] = {
            Number: self._number,
            Truth: self._truth,
            Octets: self._lone_octets,
            Address: self._lone_address,
            Name: self._name,
            Index: self._index,
            Unary: self._unary,
            Binary: self._binary,
            Membership: self._membership,
        }

    def fault(self, offset: int, message: str, hint: str = "") -> None:
        self.faults.append(Fault(self.part, offset, message, hint))

    def check_counter(self, name: str) -> None:
        if not NAME.fullmatch(name) or "." in name:
            self.fault(0, f"'{name}' is no name for a counter; expected a lower-case word")
        elif name in WORDS or name == WHEN:
            self.fault(0, f"'{name}' has a meaning here; expected another name for the counter")
        elif name in self.fields:
            self.fault(0, f"'{name}' is a field already; expected another name for the counter")

    def condition(self, text: str) -> tuple[Step, ...]:
        """The steps of a text that has to be true or false."""
        return self._text(text, (Kind.TRUTH,), "expected something that is true or false")

    def counted(self, text: str) -> tuple[Step, ...]:
        """The steps of what a counter counts."""
        wanted = "expected a condition, which counts 1 where it holds, or a number to add"
        return self._text(text, (Kind.TRUTH, Kind.NUMBER), wanted)

    def _text(self, text: str, kinds: tuple[Kind, ...], wanted: str) -> tuple[Step, ...]:
        try:
            tree = parse(text)
        except SyntaxFault as error:
            self.fault(error.offset, error.message, error.hint)
            return ()
        value = self._value(tree)
        if not value.is_a(*kinds):
            self.fault(_begin(tree), f"this is {_kind(value)}; {wanted}", _comparison_hint(value))
        return value.steps

    # --- values ---

    def _value(self, node: Node) -> _Value:
        return self._values[type(node)](node)

    def _number(self, node: Number) -> _Value:
        kind = Kind.DURATION if node.is_duration else Kind.NUMBER
        return _Value(kind, (Step(lib.MB_STEP_PUSH, value=node.value),))

    def _truth(self, node: Truth) -> _Value:
        return _Value(Kind.TRUTH, (Step(lib.MB_STEP_PUSH, value=int(node.value)),))

    def _lone_octets(self, node: Octets) -> _Value:
        self.fault(node.offset, "a text can only be compared with data")
        return _UNKNOWN

    def _lone_address(self, node: Address) -> _Value:
        self.fault(node.offset, "an address can only be compared with an address")
        return _UNKNOWN

    def _name(self, node: Name) -> _Value:
        found = self.fields.get(node.text)
        if found is None:
            near = difflib.get_close_matches(node.text, self.fields, n=1)
            hint = f"did you mean '{near[0]}'?" if near else ""
            message = f"'{self._type_name}' has no field '{node.text}'"
            self.fault(node.offset, message, hint)
            return _UNKNOWN
        return _Value(found.kind, found.steps, found.place, found.names)

    def _index(self, node: Index) -> _Value:
        if node.of.text != DATA:
            self.fault(node.offset, f"only 'data' has bytes by number, not '{node.of.text}'")
            return _UNKNOWN
        index = self._value(node.index)
        if not index.is_a(Kind.NUMBER):
            self.fault(_begin(node.index), f"an index is a number; this is {_kind(index)}")
        return _Value(Kind.NUMBER, (*index.steps, Step(lib.MB_STEP_BYTE)))

    def _unary(self, node: Unary) -> _Value:
        operand = self._value(node.operand)
        if node.operator == "not":
            self._expect_truth(operand, node.operand, "not")
            return _Value(Kind.TRUTH, (*operand.steps, Step(lib.MB_STEP_NOT)))
        if not operand.is_a(Kind.NUMBER, Kind.DURATION):
            self.fault(node.offset, f"'-' takes a number; this is {_kind(operand)}")
            return _UNKNOWN
        if len(operand.steps) == 1 and operand.steps[0].opcode == lib.MB_STEP_PUSH:
            negative = Step(lib.MB_STEP_PUSH, value=-operand.steps[0].value)
            return _Value(operand.kind, (negative,))
        return _Value(operand.kind, (*operand.steps, Step(lib.MB_STEP_NEGATE)))

    def _binary(self, node: Binary) -> _Value:
        if node.operator in _SKIPS:
            return self._junction(node)
        if node.operator == "startswith":
            return self._starts_with(node)
        if node.operator in _ARITHMETIC:
            return self._arithmetic(node)
        return self._comparison(node)

    # --- and, or ---

    def _junction(self, node: Binary) -> _Value:
        left, right = self._value(node.left), self._value(node.right)
        self._expect_truth(left, node.left, node.operator)
        self._expect_truth(right, node.right, node.operator)
        return _joined(_SKIPS[node.operator], (left.steps, right.steps))

    def _expect_truth(self, value: _Value, node: Node, operator: str) -> None:
        if not value.is_a(Kind.TRUTH):
            message = f"'{operator}' takes what is true or false; this is {_kind(value)}"
            self.fault(_begin(node), message, _comparison_hint(value))

    # --- arithmetic ---

    def _arithmetic(self, node: Binary) -> _Value:
        left, right = self._value(node.left), self._value(node.right)
        if left.kind is None or right.kind is None:
            return _UNKNOWN
        kind = _RESULTS.get((node.operator, left.kind, right.kind))
        if kind is None:
            message = f"'{node.operator}' makes no sense of {_kind(left)} and {_kind(right)}"
            self.fault(node.offset, message)
            return _UNKNOWN
        return _Value(kind, _operation(_ARITHMETIC[node.operator], left.steps, right.steps))

    # --- comparisons ---

    def _comparison(self, node: Binary) -> _Value:
        if node.operator in _EQUALITY:
            equal = self._equality(node.left, node.right, node.offset, _EQUALITY[node.operator])
            return _Value(Kind.TRUTH, equal)
        left, right = self._pair(node.left, node.right)
        if left.kind is None or right.kind is None:
            return _Value(Kind.TRUTH)
        if left.kind is not right.kind:
            self._fault_of_pair(node.offset, left, right)
        elif left.kind not in _ORDERED:
            self.fault(node.offset, f"'{node.operator}' has no meaning for {_kind(left)}")
        return _Value(Kind.TRUTH, _operation(_ORDER[node.operator], left.steps, right.steps))

    def _equality(
        self, left_node: Node, right_node: Node, offset: int, opcode: int
    ) -> tuple[Step, ...]:
        """Steps that leave whether both are the same (or, MB_STEP_UNEQUAL, are not)."""
        negation = (Step(lib.MB_STEP_NOT),) if opcode == lib.MB_STEP_UNEQUAL else ()
        if isinstance(left_node, Octets | Address):  # so that what can be literal stands right
            left_node, right_node = right_node, left_node
        if isinstance(right_node, Address):
            return self._in_network(left_node, right_node, offset, needs_host=True) + negation
        if isinstance(right_node, Octets):
            return self._is_data(left_node, right_node, offset) + negation
        return self._same(left_node, right_node, offset, opcode)

    def _same(
        self, left_node: Node, right_node: Node, offset: int, opcode: int
    ) -> tuple[Step, ...]:
        """As `_equality`, of two that are no texts and no addresses as written."""
        left, right = self._pair(left_node, right_node)
        if left.kind is None or right.kind is None:
            return ()
        if left.kind is not right.kind:
            self._fault_of_pair(offset, left, right)
            return ()
        if left.kind is Kind.ADDRESS:
            same = Step(lib.MB_STEP_SAME_ADDRESS, place=left.place, target=right.place)
            return (same,) if opcode == lib.MB_STEP_EQUAL else (same, Step(lib.MB_STEP_NOT))
        if left.kind not in _PLAIN:
            self.fault(offset, "data can be compared with a text, not with itself")
            return ()
        return _operation(opcode, left.steps, right.steps)

    def _pair(self, left: Node, right: Node) -> tuple[_Value, _Value]:
        """Both sides of a comparison. A bare word may be a value of the field on the other side."""
        if isinstance(right, Name) and right.text not in self.fields:
            value = self._value(left)
            return value, self._word(right, value)
        if isinstance(left, Name) and left.text not in self.fields:
            value = self._value(right)
            return self._word(left, value), value
        return self._value(left), self._value(right)

    def _word(self, word: Name, of: _Value) -> _Value:
        if of.kind is None:
            return _UNKNOWN
        if of.names is None:
            return self._name(word)
        if word.text in of.names:
            return _Value(of.kind, (Step(lib.MB_STEP_PUSH, value=of.names[word.text]),))
        by_lower = {name.lower(): name for name in of.names}
        near = difflib.get_close_matches(word.text.lower(), by_lower, n=1)
        hint = f"did you mean '{by_lower[near[0]]}'?" if near else ""
        what = _kind(of).split()[-1] if of.kind in (Kind.REASON, Kind.STATE) else "value"
        self.fault(word.offset, f"there is no {what} '{word.text}' here", hint)
        return _UNKNOWN

    def _fault_of_pair(self, offset: int, left: _Value, right: _Value) -> None:
        kinds = {left.kind, right.kind}
        hint = ""
        if kinds == {Kind.NUMBER, Kind.DURATION}:
            hint = "a duration is written with its unit, as in 200ms"
        elif Kind.REASON in kinds or Kind.STATE in kinds:
            hint = "write its name"
        self.fault(offset, f"{_kind(left)} and {_kind(right)} cannot be compared", hint)

    def _membership(self, node: Membership) -> _Value:
        tests = tuple(self._test(node, item) for item in node.items)
        return _joined(lib.MB_STEP_SKIP_IF_TRUE, tests)

    def _test(self, node: Membership, item: Node | Range) -> tuple[Step, ...]:
        if isinstance(item, Address):
            return self._in_network(node.left, item, node.offset)
        if not isinstance(item, Range):
            return self._equality(node.left, item, node.offset, lib.MB_STEP_EQUAL)
        low = self._comparison(Binary(item.offset, ">=", node.left, item.low))
        high = self._comparison(Binary(item.offset, "<=", node.left, item.high))
        return _joined(lib.MB_STEP_SKIP_IF_FALSE, (low.steps, high.steps)).steps

    def _in_network(
        self, node: Node, network: Address, offset: int, *, needs_host: bool = False
    ) -> tuple[Step, ...]:
        value = _UNKNOWN if isinstance(node, Address | Octets) else self._value(node)
        if isinstance(node, Address | Octets) or not value.is_a(Kind.ADDRESS):
            kind = "a value" if value.kind is None else _kind(value)
            self.fault(offset, f"{kind} cannot be compared with an address")
            return ()
        if needs_host and network.value.num_addresses > 1:
            self.fault(network.offset, f"{network.value} is a network", "did you mean 'in'?")
        matches = (_matches(network.value, value.place),)
        if isinstance(network.value, IPv6Network) and _MAPPED_NETWORK.subnet_of(network.value):
            is_ipv6 = (_matches(_MAPPED_NETWORK, value.place), Step(lib.MB_STEP_NOT))
            return _joined(lib.MB_STEP_SKIP_IF_FALSE, (is_ipv6, matches)).steps
        return matches

    # --- data ---

    def _starts_with(self, node: Binary) -> _Value:
        value = self._value(node.left)
        if not value.is_a(Kind.OCTETS):
            self.fault(node.offset, f"only data can start with bytes; this is {_kind(value)}")
        if not isinstance(node.right, Octets):
            message = 'expected a text such as "GET ", or bytes such as x"16 03"'
            self.fault(_begin(node.right), message)
            return _Value(Kind.TRUTH)
        return _Value(Kind.TRUTH, (_starts(node.right.value),))

    def _is_data(self, node: Node, octets: Octets, offset: int) -> tuple[Step, ...]:
        value = _UNKNOWN if isinstance(node, Octets | Address) else self._value(node)
        if value.kind is not Kind.OCTETS:
            if value.kind is not None or isinstance(node, Octets | Address):
                self.fault(offset, "only data can be compared with a text")
            return ()
        length = _operation(
            lib.MB_STEP_EQUAL,
            self.fields["data.length"].steps,
            (Step(lib.MB_STEP_PUSH, value=len(octets.value)),),
        )
        both = (length, (_starts(octets.value),))
        return _joined(lib.MB_STEP_SKIP_IF_FALSE, both).steps


def _kind(value: _Value) -> str:
    return value.kind.value if value.kind else "unknown"


def _comparison_hint(value: _Value) -> str:
    return "compare it, as in '... > 0'" if value.kind in _ORDERED else ""


def _starts(octets: bytes) -> Step:
    return Step(lib.MB_STEP_STARTS_WITH, place=len(octets), constant=octets)


def _operation(opcode: int, left: tuple[Step, ...], right: tuple[Step, ...]) -> tuple[Step, ...]:
    """A number on the right goes into the operator's own step."""
    if len(right) == 1 and right[0].opcode == lib.MB_STEP_PUSH:
        return (*left, Step(opcode, width=1, value=right[0].value))
    return (*left, *right, Step(opcode))


def _joined(skip: int, parts: Iterable[tuple[Step, ...]]) -> _Value:
    """`and` or `or` over all parts: the first that decides is the last that is looked at."""
    *before, steps = parts
    for part in reversed(before):
        steps = (*part, Step(skip, skip=len(steps)), *steps)
    return _Value(Kind.TRUTH, steps)


def _matches(network: Network, place: int) -> Step:
    """Whether the address at `place` begins as all of the network's, IPv4 mapped into IPv6."""
    address, bits = network.network_address.packed, network.prefixlen
    if isinstance(network, IPv4Network):
        address, bits = _MAPPED + address, _ADDRESS_BITS - 32 + bits
    return Step(lib.MB_STEP_MATCHES, bits, place, constant=address[: (bits + 7) // 8])


def _begin(node: Node) -> int:
    """Where its text begins."""
    if isinstance(node, Binary | Membership):
        return _begin(node.left)
    if isinstance(node, Unary) and isinstance(node.operand, Membership):
        return min(node.offset, _begin(node.operand))
    return node.offset
