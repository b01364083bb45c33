"""Random conditions on random entries: the core says what a slow, obvious evaluator says.

The evaluator goes by the tree that a text was made from, not by what the compiler read from it; so
the parser, the kinds of values, the program and the interpreter are all looked at.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from random import Random
from typing import Any

from hypothesis import given, reject, settings
from hypothesis import strategies as st
from stack_driver.cases import cases

from microbox._core import ffi, lib
from microbox.chain.conditions.compiler import compile_rule
from microbox.chain.conditions.rule import Rule, RuleFaults
from microbox.chain.conditions.steps import Program
from microbox.events.catalog import built_in

Compile = Callable[..., Any]
Tree = tuple[Any, ...]

SMALLEST, LARGEST = -(1 << 63), (1 << 63) - 1
STATES = {"CLOSED": 0, "SYN_SENT": 2, "ESTABLISHED": 4, "TIME_WAIT": 10}
REASONS = {"none": 0, "fin": 1}

# --- the evaluator ---


class Failed(Exception):
    """The condition holds neither way."""


ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
    "%": operator.mod,
    "&": operator.and_,
    "|": operator.or_,
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def fitting(number: int) -> int:
    if not SMALLEST <= number <= LARGEST:
        raise Failed
    return number


def evaluate(tree: Tree, fields: Mapping[str, Any]) -> Any:
    kind, *parts = tree
    return EVALUATORS[kind](fields, *parts)


def field_of(fields: Mapping[str, Any], name: str) -> Any:
    value = fields[name]
    return fitting(value) if isinstance(value, int) else value


def arithmetic(fields: Mapping[str, Any], symbol: str, left: Tree, right: Tree) -> int:
    first, second = evaluate(left, fields), evaluate(right, fields)
    try:
        return fitting(ARITHMETIC[symbol](first, second))
    except ZeroDivisionError:
        raise Failed from None


def comparison(fields: Mapping[str, Any], symbol: str, left: Tree, right: Tree) -> bool:
    return COMPARISONS[symbol](evaluate(left, fields), evaluate(right, fields))


def byte(fields: Mapping[str, Any], index: Tree) -> int:
    number = evaluate(index, fields)
    if not 0 <= number < len(fields["data"]):
        raise Failed
    return int(fields["data"][number])


def is_in(fields: Mapping[str, Any], left: Tree, items: tuple[Tree, ...]) -> bool:
    return any(is_item(fields, left, item) for item in items)


def is_item(fields: Mapping[str, Any], left: Tree, item: Tree) -> bool:
    value = evaluate(left, fields)
    if item[0] == "network":
        return value in ip_network(item[1])
    if item[0] == "range":
        return bool(evaluate(item[1], fields) <= value) and bool(value <= evaluate(item[2], fields))
    return bool(value == evaluate(item, fields))


EVALUATORS: dict[str, Callable[..., Any]] = {
    "number": lambda _, value: value,
    "duration": lambda _, count, unit: count * {"ms": 1_000_000, "us": 1_000, "s": 10**9}[unit],
    "truth": lambda _, value: value,
    "word": lambda _, __, value: value,
    "address": lambda _, text: ip_address(text),
    "field": field_of,
    "byte": byte,
    "negative": lambda fields, one: fitting(-evaluate(one, fields)),
    "arithmetic": arithmetic,
    "comparison": comparison,
    "and": lambda fields, a, b: evaluate(a, fields) and evaluate(b, fields),
    "or": lambda fields, a, b: evaluate(a, fields) or evaluate(b, fields),
    "not": lambda fields, one: not evaluate(one, fields),
    "in": is_in,
    "starts": lambda fields, octets: fields["data"].startswith(octets),
    "is_data": lambda fields, octets: fields["data"] == octets,
}

# --- the text of a tree, with parentheses only where the guide's table asks for them ---

ATOM, SIGN, PRODUCT, SUM, BITS_AND, BITS_OR, COMPARED, NEGATED, ALL, ANY = range(10)
BINDING = {"*": PRODUCT, "/": PRODUCT, "%": PRODUCT, "+": SUM, "-": SUM, "&": BITS_AND}


def text(tree: Tree) -> str:
    return written(tree)[0]


def within(tree: Tree, weakest: int) -> str:
    """The tree as an operand of something that binds as strongly as `weakest`."""
    shown, binding = written(tree)
    return shown if binding <= weakest else f"({shown})"


def binary(symbol: str, left: Tree, right: Tree, binding: int) -> tuple[str, int]:
    strict = binding == COMPARED
    return (
        f"{within(left, binding - strict)} {symbol} {within(right, binding - 1)}",
        binding,
    )


def quoted(octets: bytes) -> str:
    return 'x"' + octets.hex(" ") + '"'


def item_text(item: Tree) -> str:
    if item[0] == "network":
        return str(item[1])
    if item[0] == "range":
        return f"{within(item[1], BITS_OR)}..{within(item[2], BITS_OR)}"
    return within(item, BITS_OR)


def negative_text(one: Tree) -> tuple[str, int]:
    return f"-{within(one, SIGN)}", SIGN


def not_text(one: Tree) -> tuple[str, int]:
    return f"not {within(one, NEGATED)}", NEGATED


def arithmetic_text(symbol: str, left: Tree, right: Tree) -> tuple[str, int]:
    return binary(symbol, left, right, BINDING.get(symbol, BITS_OR))


def in_text(left: Tree, items: tuple[Tree, ...]) -> tuple[str, int]:
    return f"{within(left, BITS_OR)} in ({', '.join(map(item_text, items))})", COMPARED


WRITERS: dict[str, Callable[..., tuple[str, int]]] = {
    "number": lambda value: (str(value), ATOM),
    "duration": lambda count, unit: (f"{count}{unit}", ATOM),
    "truth": lambda value: (str(value).lower(), ATOM),
    "word": lambda name, _: (name, ATOM),
    "address": lambda name: (name, ATOM),
    "field": lambda name: (name, ATOM),
    "byte": lambda index: (f"data[{text(index)}]", ATOM),
    "negative": negative_text,
    "arithmetic": arithmetic_text,
    "comparison": lambda symbol, left, right: binary(symbol, left, right, COMPARED),
    "and": lambda left, right: binary("and", left, right, ALL),
    "or": lambda left, right: binary("or", left, right, ANY),
    "not": not_text,
    "in": in_text,
    "starts": lambda octets: (f"data startswith {quoted(octets)}", COMPARED),
    "is_data": lambda octets: (f"data == {quoted(octets)}", COMPARED),
}


def written(tree: Tree) -> tuple[str, int]:
    """The text, and how strongly its outermost operator binds."""
    kind, *parts = tree
    return WRITERS[kind](*parts)


# --- random trees ---

NUMBER_FIELDS = (
    "source_port destination_port offset data.length packet flow.id originator.bytes "
    "responder.window side.retransmissions peer.packets side.window direction"
).split()
DURATION_FIELDS = ("originator.round_trip", "peer.round_trip", "flow.age")
NETWORKS = ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/17", "2001:db8::/33", "::/0", "192.0.2.1/32")
ADDRESSES = ("10.1.2.3", "10.1.200.3", "192.0.2.1", "2001:db8::1", "::1")
SMALL = st.integers(0, 3) | st.integers(0, 70_000) | st.sampled_from([LARGEST, LARGEST - 1])
OCTETS = st.binary(max_size=4) | st.sampled_from([b"GET ", b"GET", b"\0"])


def fields_named(names: tuple[str, ...] | list[str]) -> st.SearchStrategy[Tree]:
    return st.tuples(st.just("field"), st.sampled_from(names))


def numbers_of(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return (
        st.tuples(st.just("arithmetic"), st.sampled_from("+-*/%&|"), inner, inner)
        | st.tuples(st.just("negative"), inner)
        | st.tuples(st.just("byte"), inner)
    )


NUMBERS = st.recursive(
    st.tuples(st.just("number"), SMALL) | fields_named(NUMBER_FIELDS), numbers_of, max_leaves=6
)
PLAIN_DURATIONS = st.tuples(
    st.just("duration"), st.integers(0, 5000), st.sampled_from(["us", "ms", "s"])
) | fields_named(DURATION_FIELDS)
DURATIONS = (
    PLAIN_DURATIONS
    | st.tuples(st.just("arithmetic"), st.sampled_from("+-%"), PLAIN_DURATIONS, PLAIN_DURATIONS)
    | st.tuples(st.just("arithmetic"), st.sampled_from("*/"), PLAIN_DURATIONS, NUMBERS)
)
ADDRESS_FIELDS = fields_named(("source", "destination"))
ANY_ADDRESS = ADDRESS_FIELDS | st.tuples(st.just("address"), st.sampled_from(ADDRESSES))
NUMBER_ITEMS = NUMBERS | st.tuples(st.just("range"), NUMBERS, NUMBERS)
ADDRESS_ITEMS = ANY_ADDRESS | st.tuples(st.just("network"), st.sampled_from(NETWORKS))


def words(values: dict[str, int]) -> st.SearchStrategy[Tree]:
    return st.sampled_from(sorted(values.items())).map(lambda pair: ("word", *pair))


def compared(symbols: list[str], left: Any, right: Any) -> st.SearchStrategy[Tree]:
    return st.tuples(st.just("comparison"), st.sampled_from(symbols), left, right)


EQUALITY = ["==", "!="]
SIMPLE = (
    compared(list(COMPARISONS), NUMBERS, NUMBERS)
    | compared(list(COMPARISONS), DURATIONS, DURATIONS)
    | compared(EQUALITY, ADDRESS_FIELDS, ANY_ADDRESS)
    | compared(EQUALITY, fields_named(("side.state", "responder.state")), words(STATES))
    | compared(EQUALITY, fields_named(("reason",)), words(REASONS))
    | st.tuples(st.just("in"), NUMBERS, st.lists(NUMBER_ITEMS, min_size=1, max_size=3).map(tuple))
    | st.tuples(
        st.just("in"), ADDRESS_FIELDS, st.lists(ADDRESS_ITEMS, min_size=1, max_size=3).map(tuple)
    )
    | st.tuples(st.just("starts"), OCTETS)
    | st.tuples(st.just("is_data"), OCTETS)
    | st.tuples(st.just("truth"), st.booleans())
)
CONDITIONS = st.recursive(
    SIMPLE,
    lambda inner: (
        st.tuples(st.sampled_from(["and", "or"]), inner, inner) | st.tuples(st.just("not"), inner)
    ),
    max_leaves=5,
)

# --- random entries ---

MOMENTS = 5  # that each condition is tried on


@dataclass(frozen=True)
class Moment:
    """An entry, what a condition may name of it, and what comes with it."""

    entry: Any
    fields: Mapping[str, Any]
    started: int


def address_octets(address: IPv4Address | IPv6Address) -> bytes:
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def number_of(chance: Random, bits: int) -> int:
    """Small ones are what conditions compare with."""
    return chance.randrange(4) if chance.random() < 0.5 else chance.getrandbits(bits)


def data_of(chance: Random) -> bytes:
    return chance.choice([b"GET ", b"GET", b"\0", chance.randbytes(chance.randrange(5))])


def moment_of(chance: Random) -> Moment:
    entry = ffi.new("struct mb_entry *")
    tuple_ = entry.payload.tcp_data.flow.tuple
    fields: dict[str, Any] = {}

    def put(owner: Any, member: str, name: str, bits: int) -> None:
        fields[name] = number_of(chance, bits)
        setattr(owner, member, fields[name])

    for name in ("source", "destination"):
        fields[name] = ip_address(chance.choice(ADDRESSES))
        setattr(tuple_, name, address_octets(fields[name]))
        put(tuple_, f"{name}_port", f"{name}_port", 16)
    put(entry.payload.tcp_data, "offset", "offset", 64)
    put(entry, "packet", "packet", 64)
    put(entry, "flow", "flow.id", 64)
    fields["direction"] = chance.randrange(2)
    entry.flags = fields["direction"]
    entry.reason = fields["reason"] = chance.choice(sorted(REASONS.values()))
    put_sides(chance, entry, fields, put)
    fields["data"] = data_of(chance)
    fields["data.length"] = len(fields["data"])
    started = chance.randrange(10**18)
    entry.time = started + chance.randrange(10**12)
    fields["flow.age"] = entry.time - started
    return Moment(entry, fields, started)


def put_sides(chance: Random, entry: Any, fields: dict[str, Any], put: Any) -> None:
    widths = {"bytes": 64, "packets": 32, "window": 32, "round_trip": 32, "retransmissions": 16}
    names = ("originator", "responder")
    for number, side in enumerate(names):
        for member, bits in widths.items():
            put(entry.snapshot.side[number], member, f"{side}.{member}", bits)
        fields[f"{side}.round_trip"] *= 1000  # a duration
        state = chance.choice(sorted(STATES.values()))
        entry.snapshot.side[number].state = fields[f"{side}.state"] = state
    sender = fields["direction"]
    for name, number in (("side", sender), ("peer", 1 - sender)):
        for member in (*widths, "state"):
            fields[f"{name}.{member}"] = fields[f"{names[number]}.{member}"]


def moments_of(chance: Random) -> list[Moment]:
    return [moment_of(chance) for _ in range(MOMENTS)]


# Of an entry hypothesis draws no more than the seed: to draw each field takes far longer than to
# judge the entry.
SEEDS = st.integers(0, LARGEST)
SEVERAL_MOMENTS = SEEDS.map(Random).map(moments_of)


def compiled(judge: Compile, when: str, **more: Any) -> Any:
    """As `judge`; a condition of more steps than a program may have is no case."""
    try:
        return judge(when, **more)
    except RuleFaults as faults:
        if "too long" in str(faults):
            reject()
        raise


def expected(tree: Tree, moment: Moment) -> bool | None:
    try:
        return bool(evaluate(tree, moment.fields))
    except Failed:
        return None


@given(CONDITIONS, SEVERAL_MOMENTS)
@settings(max_examples=cases(1000), deadline=None)
def test_the_core_says_what_the_evaluator_says(
    judge: Compile, tree: Tree, moments: list[Moment]
) -> None:
    judged = compiled(judge, text(tree))
    for moment in moments:
        said = judged(moment.entry, moment.fields["data"], moment.started)
        assert said == expected(tree, moment), text(tree)


@given(NUMBERS, CONDITIONS, SEVERAL_MOMENTS)
@settings(max_examples=cases(300), deadline=None)
def test_counters_add_up(judge: Compile, number: Tree, tree: Tree, events: list[Moment]) -> None:
    counters = {"total": text(number), "fits": text(tree)}
    judged = compiled(judge, "total > 0 and fits >= 2", counters=counters, at_most=2)
    total = fits = matches = 0
    for moment in events:
        said = judged(moment.entry, moment.fields["data"], moment.started)
        try:
            total = fitting(total + evaluate(number, moment.fields))
            fits += bool(evaluate(tree, moment.fields))
        except Failed:
            assert said is None
            continue
        assert said == (total > 0 and fits >= 2 and matches < 2)
        matches += said
    assert list(judged.counters[0:3]) == [total, fits, matches]


# --- programs that nobody compiled ---


SOUND = (
    'data startswith "GET " and destination_port == 80',
    "source in (10.0.0.0/8, 2001:db8::/32) or source == destination",
    "seen > 3 and side.retransmissions * 100 / peer.packets >= 2",
    "flow.age % 1s < 10ms or data[data.length - 1] == 10",
    "source_port in (1..1023, 8080) and -offset + 64 < 5",
)


def program_of(chance: Random) -> Program:
    """A sound one with a few bytes changed: some still are sound."""
    catalog = built_in()
    rule = Rule(chance.choice(SOUND), {"seen": "true"}, chance.randrange(3))
    program = compile_rule(rule, catalog.resolve("tcp.data"), catalog)
    octets = bytearray(program.octets)
    for _ in range(chance.randrange(5)):
        octets[chance.randrange(len(octets))] = chance.choice([chance.randrange(32), 0x7F, 0xFF])
    return Program(bytes(octets), program.step_count, program.counters)


@given(SEEDS.map(Random).map(program_of), SEVERAL_MOMENTS)
@settings(max_examples=cases(2000), deadline=None)
def test_no_program_breaks_anything(program: Program, moments: list[Moment]) -> None:
    condition = ffi.new("struct mb_condition *")
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    octets = program.octets
    status = lib.mb_condition_load(
        condition, octets, len(octets), program.step_count, program.counters, error
    )
    if status != 0:
        assert ffi.string(error)
        return
    kept = ffi.new("int64_t[]", 8)
    for moment in moments:
        data = ffi.new("uint8_t[]", moment.fields["data"] or b"\0")
        moment.entry.data_length = len(moment.fields["data"])
        judged = ffi.new(
            "struct mb_condition_input *",
            {"entry": moment.entry, "data": data, "started": moment.started, "counters": kept},
        )
        assert lib.mb_condition_run(condition, judged) in range(3)
