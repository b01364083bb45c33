"""`shadow: true`: nobody waits for the NF, and the plan knows what it takes to promote it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from microbox.chain.errors import ChainErrors
from microbox.chain.plan import Plan
from microbox.chain.promotion import PromotionError, promoted

Planner = Callable[..., Plan]
NF = Callable[..., Any]


def stages(plan: Plan) -> list[list[str]]:
    return [[nf.name for nf in stage] for stage in plan.stages()]


def errors_of(plan: Planner, *nfs: Any) -> list[str]:
    with pytest.raises(ChainErrors) as raised:
        plan(*nfs)
    return [str(error) for error in raised.value.errors]


def test_nobody_waits_for_its_verdicts(plan: Planner, nf: NF) -> None:
    firewall = nf("firewall", on=["tcp.start"], inline=True, shadow=True)
    made = plan(firewall, nf("flows", on=["tcp.end"]))
    assert stages(made) == [["firewall", "flows"]]
    assert made.nfs[1].would_wait == {0: "it may drop tcp"}
    assert (made.nfs[0].is_inline, made.nfs[0].fails_closed) == (False, False)
    assert made.nfs[0].shape.is_inline


def test_it_waits_for_others_itself(plan: Planner, nf: NF) -> None:
    firewall = nf("firewall", on=["tcp.start"], inline=True)
    made = plan(firewall, nf("trial", on=["tcp.start"], inline=True, shadow=True))
    assert stages(made) == [["firewall"], ["trial"]]


def test_what_its_drops_would_switch_off_stays_on(plan: Planner, nf: NF) -> None:
    firewall = nf("firewall", on=["tcp.start"], inline=True, commands=True, shadow=True)
    made = plan(firewall, nf("flows", on=["tcp.end"]))
    assert [switch.drops for switch in made.worker_switches()] == [[]]


def test_there_has_to_be_something_to_count(plan: Planner, nf: NF) -> None:
    assert errors_of(plan, nf("flows", on=["tcp.end"], shadow=True)) == [
        "chain.yaml:3:5: 'flows' never drops a packet, so there is nothing to count in shadow; "
        "expected an NF that returns DROP, or has `inline = True`"
    ]


def test_who_tells_people_hears_of_its_alerts(plan: Planner, nf: NF) -> None:
    trial = nf("trial", on=["tcp.start"], inline=True, publishes=["alert"], shadow=True)
    made = plan(trial, nf("log", on=["alert"]))
    assert made.nfs[1].barrier_because == {0: "reads its alert"}


def test_who_acts_on_alerts_does_not_hear_of_them(plan: Planner, nf: NF) -> None:
    trial = nf("trial", on=["tcp.start"], inline=True, publishes=["alert"], shadow=True)
    real = nf("real", on=["tcp.start"], publishes=["alert"])
    blocker = nf("blocker", on=["alert", "tcp.start"], inline=True)
    made = plan(trial, real, blocker)
    assert made.nfs[2].reads == [1]
    assert plan(trial, real, replace(blocker, shadow=True)).nfs[2].reads == [0, 1]


def test_who_hears_of_nothing_else_is_an_error(plan: Planner, nf: NF) -> None:
    trial = nf("trial", on=["tcp.start"], inline=True, publishes=["alert"], shadow=True)
    blocker = nf("blocker", on=["alert"], inline=True)
    assert errors_of(plan, trial, blocker) == [
        "chain.yaml:4:5: 'blocker' subscribes to 'alert', which 'trial' (line 3) publishes in "
        "shadow: only NFs that neither drop nor publish hear of it; expected `shadow: true` for "
        "'blocker' too, or for neither"
    ]


def test_whom_it_depends_on_does_not_stop_packets_yet(plan: Planner, nf: NF) -> None:
    parser = nf("parser", on=["tcp.data"], publishes=["tcp.data.http.request"])
    trial = nf("trial", on=["http.request"], inline=True, shadow=True)
    made = plan(parser, trial)
    assert [one.fails_closed for one in made.nfs] == [False, False]
    assert made.nfs[0].shape.is_inline
    assert [one.fails_closed for one in promoted(made, "trial").nfs] == [True, True]


def test_two_editors_are_not_to_be_side_by_side_once_one_is_promoted(plan: Planner, nf: NF) -> None:
    one = nf("one", on=["tcp.start"], edits="headers", shadow=True)
    two = nf("two", on=["tcp.start"], edits="headers")
    assert stages(plan(one, two)) == [["one", "two"]]
    assert "both edit tcp, side by side" in errors_of(plan, one, replace(two, after=()))[0]


CHAINS: dict[str, Callable[[NF], Sequence[Any]]] = {
    "of two": lambda nf: [nf("trial", on=["tcp.start"], inline=True), nf("flows", on=["tcp.end"])],
    "with commands": lambda nf: [
        nf("trial", on=["tcp.start"], inline=True, commands=True),
        nf("http", on=["tcp.data"], publishes=["tcp.data.http.request"]),
        nf("log", on=["http.request"]),
    ],
    "open": lambda nf: [
        nf("trial", on=["tcp.start"], inline=True, on_failure="open"),
        nf("flows", on=["tcp.end"]),
    ],
    "behind a parser": lambda nf: [
        nf("http", on=["tcp.data"], publishes=["tcp.data.http.request"]),
        nf("trial", on=["http.request"], inline=True),
        nf("flows", on=["tcp.end"]),
    ],
    "in front of batches": lambda nf: [
        nf("first", on=["tcp.start"], inline=True),
        nf("trial", on=["tcp.start"], inline=True),
        nf("third", on=["tcp.start", "udp.start"], inline=True),
        nf("counts", batch=["packet"]),
    ],
    "with after": lambda nf: [
        nf("first", on=["tcp.start"], inline=True),
        nf("trial", on=["tcp.start"], inline=True),
        nf("third", on=["tcp.start"], inline=True),
        nf("fourth", on=["tcp.end"], after=("third",)),
        nf("fifth", on=["tcp.end"], after=("trial",)),
        nf("sixth", on=["tcp.end"], after=()),
    ],
    "alerting": lambda nf: [
        nf("trial", on=["tcp.start"], inline=True, publishes=["alert"]),
        nf("log", on=["alert"]),
    ],
    "of instances": lambda nf: [
        nf("trial", on=["tcp.start"], inline=True, commands=True, instances=2),
        nf("flows", on=["tcp.end"], instances=2),
    ],
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_promoted_nf_stands_as_if_it_had_never_been_in_shadow(
    plan: Planner, nf: NF, name: str
) -> None:
    nfs = CHAINS[name](nf)
    real = plan(*nfs)
    trial = plan(*(replace(one, shadow=one.name == "trial") for one in nfs))
    assert [one.shape for one in trial.nfs] == [one.shape for one in real.nfs]
    assert [one.bits for one in trial.nfs] == [one.bits for one in real.nfs]
    after = promoted(trial, "trial")
    assert after.nfs == real.nfs
    assert after.subscribe() == real.subscribe()


def refusal(plan: Plan, name: str) -> str:
    with pytest.raises(PromotionError) as raised:
        promoted(plan, name)
    return str(raised.value)


def test_only_what_is_in_shadow_can_be_promoted(plan: Planner, nf: NF) -> None:
    firewall = nf("firewall", on=["tcp.start"], inline=True)
    made = plan(firewall, nf("flows", on=["tcp.end"]))
    assert refusal(made, "firewall") == "is not in shadow: its verdicts count"
    assert refusal(made, "flows") == "is not in shadow: it never drops a packet"


def test_whose_events_are_to_reach_more_cannot_be_promoted(plan: Planner, nf: NF) -> None:
    trial = nf("trial", on=["tcp.start"], inline=True, publishes=["alert"], shadow=True)
    real = nf("real", on=["tcp.start"], publishes=["alert"])
    made = plan(trial, real, nf("blocker", on=["alert"], inline=True))
    assert refusal(made, "trial") == (
        "publishes alert, which blocker reads but does not get while it is in shadow; take "
        "`shadow` out of the chain file and run the chain anew"
    )


def test_who_hears_one_in_shadow_is_promoted_after_that(plan: Planner, nf: NF) -> None:
    first = nf("first", on=["tcp.start"], inline=True, publishes=["alert"], shadow=True)
    second = nf("second", on=["alert"], inline=True, shadow=True)
    made = plan(first, second)
    assert refusal(made, "second") == (
        "reads what first publishes, which is in shadow; promote first first"
    )
    both = promoted(promoted(made, "first"), "second")
    assert both.nfs == plan(replace(first, shadow=False), replace(second, shadow=False)).nfs
