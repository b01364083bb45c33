"""What is answered to conditions that make no sense: the words, and the place."""

from __future__ import annotations

import pytest

from microbox.chain.conditions.compiler import compile_rule
from microbox.chain.conditions.rule import Rule, RuleFaults
from microbox.events.catalog import built_in

CATALOG = built_in()

# condition, with the place of its fault below it → what is said
MISTAKES = {
    """
    sourc_port == 80
    ^
    """: "'flow.tcp.data' has no field 'sourc_port'; did you mean 'source_port'?",
    """
    source_port == 5m
                ^
    """: "a number and a duration cannot be compared; a duration is written with its unit, as in "
    "200ms",
    """
    flow.age > 200
             ^
    """: "a duration and a number cannot be compared; a duration is written with its unit, as in "
    "200ms",
    """
    source_port == 80 or reason == finn
                                   ^
    """: "there is no reason 'finn' here; did you mean 'fin'?",
    """
    reason == 3
           ^
    """: "a reason and a number cannot be compared; write its name",
    """
    side.state == OPEN
                  ^
    """: "there is no state 'OPEN' here",
    """
    reason < fin
           ^
    """: "'<' has no meaning for a reason",
    """
    source == 80
           ^
    """: "an address and a number cannot be compared",
    """
    source_port in 10.0.0.0/8
                ^
    """: "a number cannot be compared with an address",
    """
    source == 10.0.0.0/8
              ^
    """: "10.0.0.0/8 is a network; did you mean 'in'?",
    """
    source in 10.0.0.1/8
              ^
    """: "'10.0.0.1/8' is no address and no network; did you mean '10.0.0.0/8'?",
    """
    1 + flow.age > 1s
      ^
    """: "'+' makes no sense of a number and a duration",
    """
    source + 1 == 2
           ^
    """: "'+' makes no sense of an address and a number",
    """
    data.length
    ^
    """: "this is a number; expected something that is true or false; compare it, as in '... > 0'",
    """
    source_port and true
    ^
    """: "'and' takes what is true or false; this is a number; compare it, as in '... > 0'",
    """
    not source_port
        ^
    """: "'not' takes what is true or false; this is a number; compare it, as in '... > 0'",
    """
    source_port startswith 'GET '
                ^
    """: "only data can start with bytes; this is a number",
    """
    data startswith 80
                    ^
    """: 'expected a text such as "GET ", or bytes such as x"16 03"',
    """
    source_port == 'GET'
                ^
    """: "only data can be compared with a text",
    """
    source[0] == 1
    ^
    """: "only 'data' has bytes by number, not 'source'",
    """
    data['a'] == 1
         ^
    """: "a text can only be compared with data",
    """
    -source == 1
    ^
    """: "'-' takes a number; this is an address",
    """
    1 < source_port < 5
                    ^
    """: "comparisons do not chain; expected 'and' and a second comparison",
    """
    source_port = 80
                ^
    """: "'=' means nothing here; did you mean '=='?",
    """
    true && false
         ^
    """: "'&&' means nothing here; did you mean 'and'?",
    """
    !true
    ^
    """: "'!' means nothing here; did you mean 'not'?",
    """
    data startswith "GET
                    ^
    """: "this text does not end; expected a closing quote",
    """
    data startswith "a\\q"
                      ^
    """: "'\\q' is no escape; expected \\n, \\r, \\t, \\0, \\\\, \\\", \\' or \\xNN",
    """
    data startswith x"0"
                    ^
    """: 'x"0" is no row of bytes; expected hex, as in x"16 03 01"',
    """
    (source_port == 80
                      ^
    """: "the end comes; expected ')' to close the parenthesis",
    """
    source_port ==
                  ^
    """: "the condition ends here; expected a field or a value",
    """
    source_port 80
                ^
    """: "'80' does not belong here; expected an operator or the end",
    """
    source_port == 5 in
                     ^
    """: "comparisons do not chain; expected 'and' and a second comparison",
    """
    flow.age > 5weeks
               ^
    """: "'weeks' is no unit; expected one of ns, us, ms, s, m, h, B, kB, MB, GB, KiB, MiB, GiB",
    """
    packet == 9223372036854775808
              ^
    """: "9223372036854775808 is too large; expected at most 2^63 - 1",
    """
    packet == 1.5
              ^
    """: "'1.5' is no whole number",
    """
    packet not 5
               ^
    """: "'5' comes; expected 'in' behind 'not'",
}


@pytest.mark.parametrize("written", MISTAKES, ids=lambda one: one.split("\n")[1].strip())
def test_a_mistake_is_said_with_its_place(written: str) -> None:
    _, condition, caret, _ = written.split("\n")
    with pytest.raises(RuleFaults) as raised:
        compile_rule(Rule(condition[4:]), CATALOG.resolve("tcp.data"), CATALOG)
    (fault,) = raised.value.faults
    said = fault.message + (f"; {fault.hint}" if fault.hint else "")
    assert (said, fault.offset) == (MISTAKES[written], caret.index("^") - 4)


def faults(rule: Rule, on: str = "tcp.data") -> list[tuple[str, int, str]]:
    with pytest.raises(RuleFaults) as raised:
        compile_rule(rule, CATALOG.resolve(on), CATALOG)
    return [(one.part, one.offset, one.message) for one in raised.value.faults]


def test_all_mistakes_of_a_rule_are_told_together() -> None:
    rule = Rule("a == 1 or b > 2 and source == 3", {"good": "true", "bad": "c + 1", "time": "1"})
    assert faults(rule) == [
        ("bad", 0, "'flow.tcp.data' has no field 'c'"),
        ("time", 0, "'time' is a field already; expected another name for the counter"),
        ("when", 0, "'flow.tcp.data' has no field 'a'"),
        ("when", 10, "'flow.tcp.data' has no field 'b'"),
        ("when", 27, "an address and a number cannot be compared"),
    ]


def test_one_mistake_in_front_of_a_list_is_told_once() -> None:
    assert len(faults(Rule("prot in (1, 2, 3)"))) == 1


def test_fields_are_those_of_the_type() -> None:
    assert faults(Rule("tcp_flags == 2 or SYN == 2")) == [
        ("when", 0, "'flow.tcp.data' has no field 'tcp_flags'"),
        ("when", 18, "'flow.tcp.data' has no field 'SYN'"),
    ]
    compile_rule(Rule("tcp_flags == SYN"), CATALOG.resolve("packet.ip.tcp"), CATALOG)


def test_a_counter_counts_truth_or_a_number() -> None:
    ((part, _, message),) = faults(Rule("true", {"ages": "flow.age"}))
    assert (part, message.partition(";")[0]) == ("ages", "this is a duration")


def test_a_counter_has_a_name_of_one_word() -> None:
    ((part, _, message),) = faults(Rule("true", {"Seen.it": "true"}))
    assert part == "Seen.it"
    assert message == "'Seen.it' is no name for a counter; expected a lower-case word"


@pytest.mark.parametrize("name", ["not", "true", "when"])
def test_a_counter_is_no_word_of_conditions(name: str) -> None:
    message = f"'{name}' has a meaning here; expected another name for the counter"
    assert faults(Rule("true", {name: "true"})) == [(name, 0, message)]


def test_a_rule_has_an_end() -> None:
    for rule, said in (
        (Rule(" or ".join(["source_port == 1"] * 200)), "the condition is too long: 599 steps"),
        (Rule(f"data startswith '{'a' * 2000}'"), "the condition is too long: 2000 bytes"),
        (Rule("(" * 100 + "true" + ")" * 100), "nested more than 40 deep"),
        (Rule("1 + (" * 18 + "packet" + ")" * 18 + " > 0"), "the condition is too long: step"),
        (Rule("true", {f"c{i}": "true" for i in range(9)}), "9 counters; expected at most 8"),
        (Rule(" " * 5000 + "true"), "5004 characters; expected at most 4096"),
        (Rule("  "), "the condition is empty"),
    ):
        ((_, _, message),) = faults(rule)
        assert message.startswith(said), message
