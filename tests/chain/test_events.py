"""`events:` of a chain, and conditions that NFs declare: parents, places of mistakes, the plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from microbox.chain.conditions.rule import WHEN, Rule
from microbox.chain.errors import ChainErrors, Position
from microbox.chain.filters import FilterFacts
from microbox.chain.load import load_chain, read_chain
from microbox.chain.model import Chain, ChainEvent, ChainNF, Input
from microbox.chain.plan import Plan
from microbox.chain.planner import make_plan, part_errors
from microbox.channel.messages import HandlerDeclaration, Manifest, TypeDeclaration
from microbox.events.catalog import DERIVED, built_in

Read = Callable[..., Chain]
Complaints = Callable[..., list[str]]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """A chain with these `events`, and one NF that is never asked what it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "capture.pcap").touch()
    (tmp_path / "my_nf.py").touch()

    def loaded(events: str) -> Chain:
        text = f"input: capture.pcap\nchain: [./my_nf.py]\n{dedent(events)}"
        (tmp_path / "chain.yaml").write_text(text)
        return load_chain(Path("chain.yaml"))

    return loaded


def manifest(*reads: str, declares: tuple[TypeDeclaration, ...] = (), filter: str = "") -> Manifest:
    handlers = [HandlerDeclaration("see", [name], filter) for name in reads]
    return Manifest("Nf", "my_nf.py", "", [], handlers, [], [], list(declares), False)


def any_filter(expression: str) -> FilterFacts:
    return FilterFacts(is_per_flow=bool(expression))


def planned(chain: Chain, *manifests: Manifest) -> Plan:
    nfs = tuple(
        ChainNF(f"nf{number}", Path("my_nf.py"), position=Position(2, 9))
        for number in range(len(manifests))
    )
    whole = Chain(chain.file, chain.input, None, nfs, events=chain.events)
    return make_plan(whole, manifests, built_in(), any_filter)


@pytest.fixture
def complaints(read: Read) -> Complaints:
    """What is said of these `events`, whether the file shows it or the plan."""

    def complain(events: str) -> list[str]:
        try:
            chain = read(events)
        except ChainErrors as errors:
            return [str(one) for one in errors.errors]
        return [str(one) for one in part_errors(chain, [manifest()], built_in(), any_filter)]

    return complain


# --- what may be said ---


def test_an_event_in_short_and_in_full(read: Read) -> None:
    short, full = read(
        """
        events:
          tcp.data.get: data startswith "GET "
          storm:
            parent: retransmission
            when: seen > 10
            counters: {seen: true, bytes: data.length}
            at_most: 1
            doc: Too much.
        """
    ).events
    assert (short.name, short.parent) == ("tcp.data.get", "")
    assert short.rule == Rule('data startswith "GET "')
    assert (full.name, full.parent, full.doc) == ("storm", "retransmission", "Too much.")
    assert full.rule == Rule("seen > 10", {"seen": "true", "bytes": "data.length"}, 1)


def test_a_condition_may_be_a_truth_value_of_yaml(read: Read) -> None:
    (one,) = read("events: {tcp.start.any: true}\n").events
    assert one.rule.when == "true"


STYLES = {
    "plain": ("  tcp.data.x: source == 80\n", Position(4, 22)),
    "plain over two lines": ("  tcp.data.x:\n    true and\n    source == 80\n", Position(6, 12)),
    "in double quotes": ('  tcp.data.x: "source == 80"\n', Position(4, 23)),
    "in double quotes with escapes": (
        '  tcp.data.x: "data == \\"a\\" and source == 80"\n',
        Position(4, 41),
    ),
    "in single quotes": ("  tcp.data.x: 'source == 80'\n", Position(4, 23)),
    "literal": ("  tcp.data.x: |\n    true and\n    source == 80\n", Position(6, 12)),
    "folded": ("  tcp.data.x: >-\n    true and\n\n    source == 80\n", Position(7, 12)),
    "as a key": ("  tcp.data.x: {when: source == 80}\n", Position(4, 29)),
}


@pytest.mark.parametrize("style", STYLES)
def test_a_mistake_has_its_line_and_column_however_it_is_written(
    complaints: Complaints, style: str
) -> None:
    written, position = STYLES[style]
    assert complaints(f"events:\n{written}") == [
        f"chain.yaml:{position.line}:{position.column}: event 'tcp.data.x': an address and a "
        "number cannot be compared"
    ]


MISTAKES = {
    "an unknown field": (
        "events: {tcp.data.x: sorce_port == 1}\n",
        "chain.yaml:3:22: event 'tcp.data.x': 'flow.tcp.data' has no field 'sorce_port'; "
        "did you mean 'source_port'?",
    ),
    "in a counter": (
        "events: {tcp.data.x: {counters: {n: 1 +}}}\n",
        "chain.yaml:3:40: event 'tcp.data.x': the condition ends here; expected a field or a value",
    ),
    "an unknown parent": (
        "events:\n  tcp.dta.x: true\n",
        "chain.yaml:4:3: event 'tcp.dta.x': its parent 'tcp.dta' is no event type that "
        "`microbox events` lists; did you mean 'flow.tcp.data'?",
    ),
    "an unknown parent by key": (
        "events: {x: {parent: retransmision}}\n",
        "chain.yaml:3:22: event 'retransmision.x': its parent 'retransmision' is no event type "
        "that `microbox events` lists; did you mean 'flow.tcp.anomaly.retransmission'?",
    ),
    "a circle": (
        "events:\n  a: {parent: b}\n  b: {parent: a}\n",
        "chain.yaml:4:15: event 'b.a': its parents go round in a circle: 'b.a' → 'a.b' → 'b.a'",
    ),
    "a name of its own only": (
        "events: {x: true}\n",
        "chain.yaml:3:10: event 'x': 'x' is no name for an event type: expected lower-case words "
        "joined by dots, the parent's first, as in 'tcp.data.smtp'",
    ),
    "a name that exists": (
        "events: {tcp.data.http: true}\n",
        "chain.yaml:3:10: event 'tcp.data.http': event type 'flow.tcp.data.http' exists already",
    ),
    "a parent that is about no packet": (
        "events: {timer.x: true}\n",
        "chain.yaml:3:10: event 'timer.x': 'timer.x' cannot have a condition: its parent 'timer' "
        "is not about packets",
    ),
    "a counter of what NFs publish": (
        "events: {http.request.x: {when: number > 1, at_most: 1}}\n",
        "chain.yaml:3:33: event 'http.request.x': NFs keep no counters of flows; counters and "
        "at_most go with what the stack publishes; the NF may count itself",
    ),
    "the age of a flow, of what NFs publish": (
        "events: {http.request.x: flow.age > 1s}\n",
        "chain.yaml:3:26: event 'http.request.x': 'flow.tcp.data.http.request' has no field "
        "'flow.age'; did you mean 'flow.vlan'?",
    ),
    "an unknown key": (
        "events: {tcp.data.x: {wen: true}}\n",
        "chain.yaml:3:23: unknown key 'wen' in `events.tcp.data.x`; expected 'parent', 'when', "
        "'counters', 'at_most' or 'doc'; did you mean 'when'?",
    ),
    "no condition": (
        "events: {tcp.data.x: {when: [1]}}\n",
        "chain.yaml:3:29: `events.tcp.data.x.when` is a list; expected a condition such as "
        "source_port == 80 (docs/guide/conditions.md)",
    ),
    "no event": (
        "events: {tcp.data.x: 1.5}\n",
        "chain.yaml:3:22: `events.tcp.data.x` is 1.5 (a number); expected a condition, or a "
        "mapping such as {when: source_port == 80}",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_with_its_place(complaints: Complaints, mistake: str) -> None:
    events, expected = MISTAKES[mistake]
    assert expected in complaints(events)


def test_the_condition_is_shown_with_a_caret(read: Read) -> None:
    chain = read("events:\n  tcp.data.x: |\n    true\n    and oops\n")
    (error,) = part_errors(chain, [manifest()], built_in(), any_filter)
    assert error.detail == "and oops\n    ^"


def test_what_is_wrong_with_an_event_leaves_the_others(read: Read) -> None:
    with pytest.raises(ChainErrors):
        read("events: {tcp.data.x: {wen: 1}, tcp.data.y: true}\n")
    reading = read_chain(Path("chain.yaml"))
    assert reading.chain is not None
    assert [one.name for one in reading.chain.events] == ["tcp.data.y"]


# --- what NFs declare ---


def declared(name: str, when: str, line: int = 1, **more: Any) -> TypeDeclaration:
    return TypeDeclaration(name, producer=DERIVED, when=when, line=line, **more)


def test_a_mistake_in_an_nf_points_into_its_file(tmp_path: Path) -> None:
    source = tmp_path / "slow.py"
    source.write_text(
        "from microbox import event\n\n"
        "class Slow:\n"
        '    slow = event("tcp.end.slow", when="flow.age > 5")\n'
        '    other = event("tcp.end.other", when="""true and\n  flow.age > 5""")\n'
    )
    chain = Chain("chain.yaml", Input(()), None, (ChainNF("slow", source),))
    conditions = (
        declared("flow.tcp.end.slow", "flow.age > 5", 4),
        declared("flow.tcp.end.other", "true and\n  flow.age > 5", 5),
    )
    errors = part_errors(chain, [manifest(declares=conditions)], built_in(), any_filter)
    said = "a duration and a number cannot be compared"
    assert [(one.file, one.line, one.column) for one in errors] == [
        (str(source), 4, 49),
        (str(source), 6, 12),
    ]
    assert errors[0].message == f"slow: event 'flow.tcp.end.slow': {said}"
    assert errors[0].detail == "flow.age > 5\n         ^"


def test_two_nfs_may_declare_the_same_event(read: Read) -> None:
    both = manifest("tcp.data.x", declares=(declared("flow.tcp.data.x", "data.length > 5"),))
    plan = planned(read(""), both, both)
    assert len(plan.user_types) == len(plan.derived) == 1


def test_two_nfs_may_not_declare_one_event_with_two_conditions(read: Read) -> None:
    first = manifest(declares=(declared("flow.tcp.data.x", "data.length > 5"),))
    other = manifest(declares=(declared("flow.tcp.data.x", "data.length > 6"),))
    with pytest.raises(ChainErrors, match="declared twice, with other conditions"):
        planned(read(""), first, other)


def test_an_nf_reads_what_the_chain_declares(read: Read) -> None:
    reader = manifest("tcp.data.x", declares=(TypeDeclaration("flow.tcp.data.x"),))
    plan = planned(read("events: {tcp.data.x: data.length > 5}\n"), reader)
    (derived,) = plan.derived
    assert plan.catalog.by_number(derived.type).name == "flow.tcp.data.x"
    assert plan.nfs[0].bits[0].types[-1] == derived.type


# --- the plan ---


def names(plan: Plan, numbers: list[int]) -> list[str]:
    return [plan.catalog.by_number(one).name.removeprefix("flow.") for one in numbers]


def test_a_parent_stands_above_its_children_in_whatever_order(read: Read) -> None:
    plan = planned(
        read(
            """
            events:
              tcp.data.x.y: data.length < 9
              tcp.data.x: data.length > 5
            """
        ),
        manifest("tcp.data.x.y"),
    )
    parent, child = plan.derived
    assert (parent.parent, child.parent) == (0, parent.type)
    assert names(plan, child.bases) == names(plan, parent.bases) == ["tcp.data"]


def test_only_what_is_read_goes_to_the_worker(read: Read) -> None:
    plan = planned(read("events: {tcp.data.x: true, tcp.data.y: true}\n"), manifest("tcp.data.y"))
    assert names(plan, [one.type for one in plan.derived]) == ["tcp.data.y"]
    assert [is_read for _, is_read in plan.derived_types()] == [False, True]


def test_an_abstract_parent_means_all_that_the_stack_publishes_below_it(read: Read) -> None:
    plan = planned(read("events: {udp.x: true}\n"), manifest("udp.x"))
    bases = names(plan, plan.derived[0].bases)
    assert {"udp.start", "udp.datagram", "udp.end"} <= {*bases}
    assert all(name.startswith("udp.") for name in bases)


def test_the_modules_of_the_bases_run(read: Read) -> None:
    plan = planned(read("events: {tcp.data.x: true}\n"), manifest("tcp.data.x"))
    assert [one.name for one in plan.modules] == ["tcp.monitor", "tcp.stream"]


def test_a_type_does_not_bring_what_is_derived_from_it(read: Read) -> None:
    chain = read("events: {tcp.data.x: true}\n")
    assert planned(chain, manifest("tcp.data")).derived == []
    assert len(planned(chain, manifest("tcp")).derived) == 1


def test_what_counts_is_judged_whatever_the_filter(read: Read) -> None:
    chain = read("events: {tcp.data.x: {at_most: 1}, tcp.data.y: true}\n")
    plan = planned(chain, manifest("tcp.data.x", "tcp.data.y", filter="src port 80"))
    plain, filtered = plan.nfs[0].bits
    assert names(plan, plain.wanted) == ["system.end_of_input", "tcp.data.x"]
    assert names(plan, filtered.types) == ["tcp.data.x", "tcp.data.y"]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (
            {f"tcp.data.x{number}": Rule("true") for number in range(33)},
            "with it, 33 types are derived and read; expected at most 32",
        ),
        (
            {
                f"tcp.data.x{number}": Rule("true", {f"c{i}": "true" for i in range(7)})
                for number in range(5)
            },
            "with it, flows have 35 counters; expected at most 32",
        ),
    ],
)
def test_there_are_limits(events: dict[str, Rule], said: str) -> None:
    places: dict[str, tuple[Position, ...]] = {}
    places |= {part: (Position(5, 1),) for part in (WHEN, *(f"c{i}" for i in range(7)))}
    chain = Chain(
        "chain.yaml",
        Input(()),
        None,
        (),
        events=tuple(
            ChainEvent(name, "", rule, "", Position(3, 1), Position(3, 1), places)
            for name, rule in events.items()
        ),
    )
    with pytest.raises(ChainErrors) as raised:
        planned(chain, manifest(*events))
    (error,) = raised.value.errors
    assert error.message.endswith(said)
