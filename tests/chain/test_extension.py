"""A further NF for a chain that runs: those that run keep what they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from microbox.chain.errors import ChainErrors
from microbox.chain.extension import Extension
from microbox.chain.model import ChainNF
from microbox.chain.plan import Plan, PlannedNF
from microbox.chain.promotion import promoted
from microbox.channel.messages import TypeDeclaration
from tests.chain.conftest import any_filter

Planner = Callable[..., Plan]
NF = Callable[..., Any]


def extended(plan: Plan, newcomer: Any, *left: PlannedNF, **said: Any) -> Plan:
    """The plan with a hand-made NF that nobody else has to come with."""
    extension = Extension(plan, left, chain_nf(newcomer, **said))
    manifests = [newcomer.manifest()]
    assert extension.next_addition(manifests) is None
    return extension.plan(manifests, any_filter)


def chain_nf(one: Any, **said: Any) -> ChainNF:
    after = said.pop("after", one.after)
    source = Path(f"/its/{one.name}.py")
    return ChainNF(one.name, source, written=one.name, after=after, skips=one.skips, **said)


def without(plan: Plan, *names: str) -> tuple[Plan, list[PlannedNF]]:
    """The plan when these have left, and they."""
    left = [nf for nf in plan.nfs if nf.name in names]
    return replace(plan, nfs=[nf for nf in plan.nfs if nf not in left]), left


def error_of(plan: Plan, newcomer: Any, *left: PlannedNF, **said: Any) -> str:
    with pytest.raises(ChainErrors) as raised:
        extended(plan, newcomer, *left, **said)
    (error,) = raised.value.errors
    return str(error)


def test_those_that_run_stay_as_they_are(plan: Planner, nf: NF) -> None:
    running = plan(
        nf("wall", on=["tcp.data", ("packet.ip", "udp")], inline=True),
        nf("flows", on=["tcp.end"], every=[10**9]),
    )
    made = extended(running, nf("watch", on=["tcp.data", ("tcp.start", "port 80")]))
    assert made.nfs[:2] == running.nfs
    watch = made.nfs[2]
    assert (watch.index, watch.stage, watch.barrier) == (2, 1, [0])
    used = {bit.bit for one in running.nfs for bit in one.bits}
    assert [bit.bit for bit in watch.bits] == [len(used), len(used) + 1]
    assert [module.name for module in made.modules] == ["tcp.monitor", "tcp.stream"]


def test_first_waits_for_nobody_but_those_that_it_reads(plan: Planner, nf: NF) -> None:
    running = plan(
        nf("wall", on=["tcp.data"], inline=True),
        nf("judge", on=["tcp.end"], publishes=["alert"]),
        nf("people", on=["alert"]),
    )
    assert extended(running, nf("watch", on=["tcp.data"]), after=()).nfs[3].barrier == []
    assert extended(running, nf("watch", on=["alert"]), after=()).nfs[3].barrier == [1]
    behind = extended(running, nf("watch", on=["tcp.data"]), after=("judge",))
    assert behind.nfs[3].barrier == [0, 1]


def test_types_keep_their_numbers(plan: Planner, nf: NF) -> None:
    running = plan(
        nf("one", publishes=["flow.odd"], declares={"flow.odd": {"score": "u32"}}),
        nf("two", on=["flow.odd"]),
    )
    made = extended(
        running, nf("three", publishes=["flow.new"], declares={"flow.new": {"score": "u32"}})
    )
    assert [one.name for one in made.user_types] == ["flow.odd", "flow.new"]
    message = error_of(running, nf("three", declares={"flow.odd": {"other": "u8"}}))
    assert message.startswith("/its/three.py: three (Three) declares: ")


def test_a_publisher_is_told_what_somebody_new_wants_derived(plan: Planner, nf: NF) -> None:
    running = plan(nf("one", publishes=["flow.odd"], declares={"flow.odd": {"score": "u32"}}))
    newcomer = nf("two", on=["flow.odd.high"])
    rule = TypeDeclaration("flow.odd.high", producer="condition", when="score > 10")
    manifest = replace(newcomer.manifest(), declares=[rule])
    made = Extension(running, [], chain_nf(newcomer)).plan([manifest], any_filter)
    assert running.nfs[0].derives == []
    assert [made.catalog.by_number(one.type).name for one in made.nfs[0].derives] == [
        "flow.odd.high"
    ]
    assert replace(made.nfs[0], derives=[]) == running.nfs[0]


def test_what_the_stack_filters_is_settled_at_the_start(plan: Planner, nf: NF) -> None:
    newcomer = nf("two", on=["tcp.data.get"])
    rule = TypeDeclaration("flow.tcp.data.get", producer="condition", when="data.length > 10")
    manifest = replace(newcomer.manifest(), declares=[rule])
    extension = Extension(plan(nf("one", on=["tcp.end"])), [], chain_nf(newcomer))
    with pytest.raises(ChainErrors, match=r"nobody of the chain reads 'flow\.tcp\.data\.get'"):
        extension.plan([manifest], any_filter)


def test_the_last_place_is_used_again(plan: Planner, nf: NF) -> None:
    running = plan(nf("one", on=["tcp.end"]), nf("two", on=["tcp.end"]), nf("three"))
    rest, left = without(running, "two", "three")
    made = extended(rest, nf("four", on=["tcp.end"]), *left)
    assert [(one.name, one.index) for one in made.nfs] == [("one", 0), ("four", 1)]
    rest, left = without(running, "two")
    made = extended(rest, nf("four", on=["tcp.end"]), *left)
    assert [(one.name, one.index) for one in made.nfs] == [("one", 0), ("three", 2), ("four", 3)]
    assert made.nfs[:2] == rest.nfs


def test_the_place_of_an_editor_is_used_again(plan: Planner, nf: NF) -> None:
    editor = {"on": ["tcp.end"], "edits": "headers", "edits_packets": True}
    running = plan(nf("flows", on=["tcp.end"]), nf("mark", **editor))
    rest, left = without(running, "mark")
    made = extended(rest, nf("mark", **editor), *left)
    assert [one.shape.editor for one in made.nfs] == [0, 1]


def test_one_that_was_promoted_judges_for_who_comes(plan: Planner, nf: NF) -> None:
    running = plan(nf("wall", on=["tcp.data"], inline=True, shadow=True), nf("flows"))
    assert extended(running, nf("watch", on=["tcp.data"])).nfs[2].barrier == []
    made = extended(promoted(running, "wall"), nf("watch", on=["tcp.data"]))
    assert made.nfs[2].barrier == [0]


def test_a_name_is_free_when_its_owner_has_left(plan: Planner, nf: NF) -> None:
    running = plan(nf("one", on=["tcp.end"]), nf("two", on=["tcp.end"]))
    rest, left = without(running, "one")
    made = extended(rest, nf("one", on=["tcp.end"]), *left)
    assert [(one.name, one.index) for one in made.nfs] == [("two", 1), ("one", 2)]


def test_what_the_gate_counted_of_a_judge_stays_its_own(plan: Planner, nf: NF) -> None:
    running = plan(nf("one", on=["tcp.end"]), nf("wall", on=["tcp.data"], inline=True))
    rest, left = without(running, "wall")
    assert extended(rest, nf("other", on=["tcp.end"]), *left).nfs[-1].index == 2
    again = nf("wall", on=["tcp.data"], inline=True)
    assert extended(rest, again, *left).nfs[-1].index == 1


def test_who_has_left_publishes_nothing(plan: Planner, nf: NF) -> None:
    running = plan(nf("one", publishes=["alert"]), nf("two", on=["tcp.end"]))
    rest, left = without(running, "one")
    assert "nobody publishes 'alert'" in error_of(rest, nf("three", on=["alert"]), *left)


def test_what_it_needs_comes_with_it(plan: Planner, nf: NF) -> None:
    running = plan(nf("flows", on=["tcp.end"]))
    newcomer = nf("watch", on=["http.request"], publishes=["alert"])
    extension = Extension(running, [], chain_nf(newcomer))
    manifests = [newcomer.manifest()]
    parser = extension.next_addition(manifests)
    assert parser is not None
    assert extension.insert(parser) == 0
    http = nf("http", on=["tcp.data"], publishes=["http.request"])
    manifests.insert(0, http.manifest())
    log = extension.next_addition(manifests)
    assert log is not None
    assert extension.insert(log) == len(manifests)
    manifests.append(nf("log", on=["alert"]).manifest())
    assert extension.next_addition(manifests) is None
    made = extension.plan(manifests, any_filter)
    assert [one.name for one in made.nfs] == ["flows", "http_parser", "watch", "alert_log"]


def test_alerts_of_who_comes_last_are_read_behind_it(plan: Planner, nf: NF) -> None:
    running = plan(nf("one", publishes=["alert"]), nf("alert_log", on=["alert"]))
    newcomer = nf("watch", publishes=["alert"])
    addition = Extension(running, [], chain_nf(newcomer)).next_addition([newcomer.manifest()])
    assert addition is not None
    assert (addition.before, addition.nf.name) == (3, "alert_log_2")


@pytest.mark.parametrize(
    ("newcomer", "said", "words"),
    [
        ({"name": "flows"}, {}, "/its/flows.py: the chain has an NF 'flows'; expected another"),
        ({"on": ["tcp.dta"]}, {}, "unknown event type 'tcp.dta'.*did you mean 'flow.tcp.data'"),
        ({"given": {"x": 1}}, {"parameters": {"x": 1}}, "/its/new.py: new: "),
        ({"on": ["tcp.data"], "inline": True}, {"after": ()}, "would have to wait.*--stage last"),
        ({"on": ["alert"]}, {"after": ("nobody",)}, "no NF of the chain is called 'nobody'"),
        (
            {"on": ["alert", "tcp.data"], "inline": True},
            {"on_failure": "closed"},
            "to fail closed and reads what 'one' publishes.*--on-failure open",
        ),
        (
            {"on": ["tcp.end"], "edits": "headers", "edits_packets": True},
            {},
            "'new' edits packets, and the chain that runs has room for 0 NFs that do",
        ),
    ],
)
def test_what_cannot_be_says_why(
    plan: Planner, nf: NF, newcomer: dict[str, Any], said: dict[str, Any], words: str
) -> None:
    running = plan(nf("one", publishes=["alert"]), nf("flows", on=["alert"]))
    one = nf(**{"name": "new", "on": ["tcp.end"], **newcomer})
    with pytest.raises(ChainErrors, match=words):
        extended(running, one, **said)
