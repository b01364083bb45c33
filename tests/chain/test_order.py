"""`after` and `parallel`: what a chain file says by hand of who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microbox.chain.additions import next_addition
from microbox.chain.errors import ChainErrors
from microbox.chain.load import load_chain
from microbox.chain.model import Chain
from microbox.chain.plan import Plan
from microbox.events.catalog import built_in

Planner = Callable[..., Plan]
NF = Callable[..., Any]


def stages(plan: Plan) -> list[list[str]]:
    return [[nf.name for nf in stage] for stage in plan.stages()]


def errors_of(plan: Planner, *nfs: Any) -> list[str]:
    with pytest.raises(ChainErrors) as raised:
        plan(*nfs)
    return [str(error) for error in raised.value.errors]


def test_after_nobody_runs_beside_an_nf_that_may_drop_what_it_reads(plan: Planner, nf: NF) -> None:
    firewall = nf("firewall", on=["tcp.start"], inline=True)
    made = plan(firewall, nf("flows", on=["tcp.end"]), nf("audit", on=["tcp.end"], after=()))
    assert stages(made) == [["firewall", "audit"], ["flows"]]


def test_after_an_nf_waits_for_it_though_nothing_else_asks_for_that(plan: Planner, nf: NF) -> None:
    made = plan(nf("flows", on=["tcp.end"]), nf("late", on=["tcp.end"], after=("flows",)))
    assert made.nfs[1].barrier_because == {0: "`after` names it"}


def test_after_an_nf_sees_the_traffic_as_it_is_behind_it(plan: Planner, nf: NF) -> None:
    one = nf("one", on=["tcp.start"], inline=True)
    two = nf("two", on=["tcp.start"], inline=True)
    three = nf("three", on=["udp.start", "tcp.start"], inline=True, after=("one",))
    last = nf("last", on=["tcp.end"], after=("two",))
    made = plan(one, two, three, last)
    assert [one.barrier for one in made.nfs] == [[], [0], [0], [0, 1]]
    assert made.nfs[3].barrier_because == {1: "`after` names it", 0: "two waits for it"}


def test_after_does_not_take_away_waiting_for_events_that_are_read(plan: Planner, nf: NF) -> None:
    ids = nf("ids", on=["tcp.data"], publishes=["alert"])
    made = plan(ids, nf("log", on=["alert"], after=()))
    assert made.nfs[1].barrier_because == {0: "reads its alert"}


def test_nfs_of_one_parallel_do_not_wait_for_each_other(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("firewall", on=["tcp.start"], inline=True, group=0),
        nf("ids", on=["tcp.data"], inline=True, group=0),
        nf("flows", on=["tcp.end"]),
    )
    assert stages(made) == [["firewall", "ids"], ["flows"]]
    assert made.nfs[2].barrier == [0, 1]


def test_nfs_of_two_parallels_wait_for_each_other(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("a", on=["tcp.start"], inline=True, group=0),
        nf("b", on=["tcp.start"], group=0),
        nf("c", on=["tcp.start"], group=1),
        nf("d", on=["tcp.start"], group=1),
    )
    assert stages(made) == [["a", "b"], ["c", "d"]]


def test_who_reads_events_of_an_nf_is_not_parallel_to_it(plan: Planner, nf: NF) -> None:
    ids = nf("ids", on=["tcp.data"], publishes=["alert"], group=0)
    assert errors_of(plan, ids, nf("log", on=["alert"], group=0)) == [
        "chain.yaml:4:5: 'log' reads alert of 'ids' (line 3), so they cannot be parallel; expected "
        "it behind that `parallel`"
    ]


def test_editors_one_behind_the_other_have_an_order(plan: Planner, nf: NF) -> None:
    balancer = nf("balancer", on=["tcp.start"], edits="headers")
    made = plan(balancer, nf("nat", on=["tcp.start"], edits="headers"))
    assert made.nfs[1].barrier_because == {0: "it may edit tcp"}


@pytest.mark.parametrize("by_hand", [{"group": 0}, {"after": ()}])
def test_two_editors_side_by_side_are_an_error(
    plan: Planner, nf: NF, by_hand: dict[str, Any]
) -> None:
    group = by_hand.get("group")
    balancer = nf("balancer", on=["tcp.start", "udp.start"], edits="headers", group=group)
    assert errors_of(plan, balancer, nf("nat", on=["tcp.start"], edits="headers", **by_hand)) == [
        "chain.yaml:4:5: 'nat' and 'balancer' (line 3) both edit tcp, side by side; expected one "
        "behind the other"
    ]


def test_instances_of_an_editor_are_one(plan: Planner, nf: NF) -> None:
    made = plan(nf("nat", on=["tcp.start"], edits="headers", instances=2))
    assert stages(made) == [["nat.1", "nat.2"]]


def test_editors_of_different_packets_may_run_side_by_side(plan: Planner, nf: NF) -> None:
    one = nf("one", on=["tcp.start"], edits="headers", group=0)
    made = plan(one, nf("two", on=["udp.start"], edits="headers", group=0))
    assert stages(made) == [["one", "two"]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("firewal", "no NF of the chain is called 'firewal'"),
        ("flows", "'flows' cannot wait for itself"),
        ("last", "'last' (line 6) stands behind 'flows'"),
        ("beside", "'beside' runs beside 'flows', as `parallel` says"),
    ],
)
def test_after_names_nfs_in_front(plan: Planner, nf: NF, name: str, message: str) -> None:
    error, *others = errors_of(
        plan,
        nf("firewall", on=["tcp.start"], inline=True),
        nf("beside", on=["tcp.end"], group=0),
        nf("flows", on=["tcp.end"], after=(name,), group=0),
        nf("last", on=["tcp.end"]),
    )
    expected = f"chain.yaml:5:5: after: {message}; expected names of NFs in front of it"
    hint = "; did you mean 'firewall'?" if name == "firewal" else ""
    assert (error, others) == (expected + hint, [])


def test_what_an_nf_of_a_parallel_needs_stands_in_front_of_all_of_it(
    chain: Callable[..., Chain], nf: NF
) -> None:
    firewall = nf("firewall", on=["tcp.start"], inline=True, group=0)
    nfs = [nf("flows", on=["tcp.end"]), firewall, nf("web", on=["http.request"], group=0)]
    addition = next_addition(chain(*nfs), [one.manifest() for one in nfs], built_in())
    assert addition is not None
    assert (addition.before, addition.nf.written) == (1, "http")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Chain]:
    monkeypatch.chdir(tmp_path)
    Path("a.pcap").touch()

    def loaded(entries: str) -> Chain:
        Path("chain.yaml").write_text(f"input: a.pcap\nchain:\n{entries}")
        return load_chain(Path("chain.yaml"))

    return loaded


def test_a_chain_file_says_both(load: Callable[[str], Chain]) -> None:
    loaded = load(
        "  - firewall\n"
        "  - parallel: [ids, {nf: port_scan, threshold: 3}]\n"
        "  - {nf: flow_log, after: [firewall]}\n"
        "  - parallel: [dns_log, tls_log]\n"
    )
    assert [(nf.name, nf.group, nf.after) for nf in loaded.nfs] == [
        ("firewall", None, None),
        ("ids", 1, None),
        ("port_scan", 1, None),
        ("flow_log", None, ("firewall",)),
        ("dns_log", 3, None),
        ("tls_log", 3, None),
    ]
    assert loaded.nfs[2].parameters == {"threshold": 3}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            "  - parallel: [ids]\n",
            "3:15: `chain[0].parallel` is a list; expected a list of at least two NFs: names, "
            "paths, or {nf: NAME, PARAMETER: VALUE}",
        ),
        (
            "  - parallel: ids\n",
            "3:15: `chain[0].parallel` is 'ids' (text); expected a list of at least two NFs: "
            "names, "
            "paths, or {nf: NAME, PARAMETER: VALUE}",
        ),
        (
            "  - {parallel: [ids, dns_log], on_error: skip}\n",
            "3:32: unknown key 'on_error' in `chain[0]`; expected 'parallel'",
        ),
        (
            "  - parallel: [ids, {name: two}]\n",
            "3:21: this entry of `chain` has 'name' but no `nf`; expected `nf: NAME`; "
            "did you mean '{nf: name, PARAMETER: VALUE}'?",
        ),
        (
            "  - parallel: [ids, {nf: dns_log, on_error: never}]\n",
            "3:45: `chain[0].parallel[1].on_error` is 'never' (text); expected stop or skip",
        ),
        (
            "  - {nf: flow_log, after: firewall}\n",
            "3:27: `chain[0].after` is 'firewall' (text); expected a list of the NFs in front "
            "that it waits for, such as [firewall], or []",
        ),
        (
            "  - parallel: [ids, ids]\n",
            "3:21: two NFs are called 'ids', the first in line 3; expected a `name:` that tells "
            "them apart; for example {nf: ids, name: ids_2}",
        ),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(
    load: Callable[[str], Chain], entries: str, message: str
) -> None:
    with pytest.raises(ChainErrors) as raised:
        load(entries)
    assert [str(error) for error in raised.value.errors] == [f"chain.yaml:{message}"]
