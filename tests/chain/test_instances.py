"""NFs that are several processes, as the planner has them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest

from microbox.chain.errors import ChainErrors
from microbox.chain.plan import Plan
from microbox.channel.messages import ALL_FLOWS, Bit
from microbox.events.catalog import built_in

NF = Callable[..., Any]
MakePlan = Callable[..., Plan]


def numbers(*names: str) -> list[int]:
    return sorted(built_in().resolve(name).number for name in names)


def shares(bits: list[Bit]) -> set[tuple[int, ...]]:
    return {astuple(bit.share) for bit in bits}


def parser(nf: NF, **more: Any) -> Any:
    return nf("parser", on=["tcp.data"], publishes=["tcp.data.http.request"], **more)


def test_each_has_bits_of_its_own_for_its_share(nf: NF, plan: MakePlan) -> None:
    made = plan(nf("first", on=["udp"]), nf("log", on=["tcp.end"], instances=3, spread_by="hosts"))
    assert [one.name for one in made.nfs] == ["first", "log.1", "log.2", "log.3"]
    assert [one.entry for one in made.nfs] == ["first", "log", "log", "log"]
    assert [[bit.bit for bit in one.bits] for one in made.nfs] == [[0], [1], [2], [3]]
    assert shares(made.nfs[0].bits) == {(0, 0, 1, 0)}
    for index in range(3):
        assert shares(made.nfs[1 + index].bits) == {(1, index, 3, 1)}


def test_they_do_not_wait_for_each_other(nf: NF, plan: MakePlan) -> None:
    made = plan(
        nf("firewall", on=["tcp"], inline=True, instances=2),
        nf("log", on=["tcp"], instances=2),
    )
    assert [one.stage for one in made.nfs] == [0, 0, 1, 1]
    assert [one.barrier for one in made.nfs] == [[], [], [0, 1], [0, 1]]


def test_they_do_not_read_what_they_publish(nf: NF, plan: MakePlan) -> None:
    one = nf("one", on=["tcp.start", "alert"], publishes=["alert"], instances=2)
    made = plan(nf("first", on=["udp"], publishes=["alert"]), one)
    assert [each.reads for each in made.nfs] == [[], [0], [0]]


def test_who_reads_an_nf_reads_all_its_instances(nf: NF, plan: MakePlan) -> None:
    made = plan(parser(nf, instances=2), nf("reader", on=["http.request"]))
    assert made.nfs[2].reads == [0, 1]
    assert shares(made.nfs[2].bits) == {(0, 0, 1, 0)}


def test_the_mask_of_an_event_says_which_instance_it_is_for(nf: NF, plan: MakePlan) -> None:
    """Each bit that delivers it is set, in its share, on all that its publisher is named for."""
    made = plan(parser(nf), nf("reader", on=["http.request"], instances=2))
    for reader in made.nfs[1:]:
        assert set(numbers("tcp.data")) <= set(reader.bits[0].wanted)
        assert reader.reads == [0]


def test_every_entry_that_names_a_publisher_names_its_readers(nf: NF, plan: MakePlan) -> None:
    """In each share: what frees the publisher's log. One instance of either may be switched."""
    kinds = itertools.product((1, 2), (1, 2, 3), ({}, {"switch": {"tcp.data": True}}))
    for publishing, reading, more in kinds:
        made = plan(
            parser(nf, instances=publishing, **more),
            nf("reader", on=[("http.request", "port 80")], instances=reading),
        )
        readers = [one for one in made.nfs if one.entry == "reader"]
        for publisher in (one for one in made.nfs if one.entry == "parser"):
            for reader in readers:
                named = {
                    (bit.filter, number)
                    for bit in reader.bits
                    for number in bit.wanted
                    if _have_flows_in_common(bit, publisher.bits[0])
                }
                wanted = {
                    (bit.filter, number)
                    for bit in publisher.bits
                    for number in bit.wanted
                    if _have_flows_in_common(reader.bits[0], bit)
                }
                assert wanted <= named


def _have_flows_in_common(one: Bit, other: Bit) -> bool:
    a, b = one.share, other.share
    return a.count != b.count or a.count == 1 or a.index == b.index


def test_a_bit_that_is_switched_with_an_instances_has_its_share(nf: NF, plan: MakePlan) -> None:
    """Else the reader would go on to be named when that instance has left the flow."""
    made = plan(
        parser(nf, switch={"tcp.data": True}, instances=2), nf("reader", on=["http.request"])
    )
    by_bit = {bit.bit: bit for one in made.nfs for bit in one.bits}
    followers = [bit for bit in made.nfs[2].bits if bit.follows in by_bit]
    assert len(followers) == 4
    assert all(bit.share == by_bit[bit.follows].share for bit in followers if bit.follows)


def test_instances_that_are_shared_out_alike_follow_only_their_own(nf: NF, plan: MakePlan) -> None:
    made = plan(
        parser(nf, switch={"tcp.data": True}, instances=2),
        nf("reader", on=["http.request"], instances=2),
    )
    data = numbers("tcp.data")[0]
    for publisher, reader in itertools.product(made.nfs[:2], made.nfs[2:]):
        own = {bit.bit for bit in publisher.bits}
        follows = any(data in bit.wanted for bit in reader.bits if bit.follows in own)
        assert follows == (publisher.share.index == reader.share.index)


def test_one_that_keeps_state_over_flows_is_refused(nf: NF, plan: MakePlan) -> None:
    with pytest.raises(ChainErrors) as raised:
        plan(nf("scan", on=["tcp.start"], per_flow=False, instances=2))
    assert [str(error) for error in raised.value.errors] == [
        "chain.yaml:3:5: 'scan' keeps what it knows of all flows together (`per_flow = False` in "
        "its class), so they cannot be shared out; expected no `instances`"
    ]


def test_after_names_all_of_them(nf: NF, plan: MakePlan) -> None:
    made = plan(nf("one", on=["tcp"], instances=2), nf("two", on=["tcp"], after=("one",)))
    assert made.nfs[2].barrier == [0, 1]


def test_what_is_wrong_is_said_once(nf: NF, plan: MakePlan) -> None:
    with pytest.raises(ChainErrors) as raised:
        plan(nf("one", on=["tcp.nothing"], instances=4))
    assert len(raised.value.errors) == 1


def test_too_many_are_refused(nf: NF, plan: MakePlan) -> None:
    with pytest.raises(ChainErrors) as raised:
        plan(nf("one", on=["tcp"], instances=40), nf("two", on=["tcp"], instances=40))
    assert "the chain has 80 NFs; expected at most 64" in str(raised.value)


def test_all_look_where_a_batch_ends(nf: NF, plan: MakePlan) -> None:
    """What is published about a batch lies there, whosever share that place is in."""
    made = plan(
        nf("publisher", batch=["tcp.data"], publishes=["alert"]),
        nf("reader", on=["alert"], instances=2),
    )
    for reader in made.nfs[1:]:
        own, follower = reader.bits
        assert own.share.count == 2
        assert (follower.share, follower.types) == (ALL_FLOWS, [])
        assert set(numbers("tcp.data")) <= set(follower.wanted)
