"""What may be switched on and off for a flow, and what goes with it."""

from __future__ import annotations

from collections.abc import Callable

from microbox.chain.plan import Plan
from microbox.channel.messages import WorkerSwitch
from microbox.events.catalog import built_in
from tests.chain.conftest import HandMade

Planner = Callable[..., Plan]
NF = type[HandMade]


def test_nothing_is_switched_where_nobody_gives_commands(plan: Planner, nf: NF) -> None:
    made = plan(nf("ids", on=["tcp.data"]))
    assert made.worker_switches() == []
    assert made.command_delay(made.nfs[0]) == 0
    assert made.nfs[0].shape.command_slots == 0


def test_all_that_an_nf_with_commands_gets_can_be_left(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("other", on=["tcp"]), nf("ids", on=["tcp.data", ("tcp", "port 80")], commands=True)
    )
    assert made.worker_switches() == [
        WorkerSwitch(1, 0, [1], initially=True),
        WorkerSwitch(1, 1, [2], initially=True),
    ]


def test_what_is_switched_by_itself_has_a_bit_of_its_own(plan: Planner, nf: NF) -> None:
    made = plan(nf("ids", on=["tcp.data"], switch={"tcp.data": True, "tcp.gap": False}))
    bits = made.nfs[0].bits
    assert [(bit.switch, bit.initially) for bit in bits] == [
        ("", True),
        ("flow.tcp.data", True),
        ("flow.tcp.gap", False),
    ]
    assert [one.initially for one in made.worker_switches()] == [True, True, False]


def test_who_reads_a_publisher_with_commands_is_switched_with_it(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("parser", on=["tcp.data"], publishes=["http.request"], commands=True),
        nf("ids", on=["http.request"], publishes=["alert"]),
        nf("log", on=["alert"]),
    )
    parser, ids, log = (one.bits for one in made.nfs)
    follower = next(bit for bit in ids if bit.follows == parser[0].bit)
    assert follower.wanted == parser[0].wanted
    assert follower.types == []
    after = next(bit for bit in log if bit.follows == follower.bit)
    assert made.worker_switches() == [
        WorkerSwitch(0, 0, [parser[0].bit, follower.bit, after.bit], initially=True)
    ]


def test_what_only_marks_whose_an_event_is_guards_no_stream(plan: Planner, nf: NF) -> None:
    """Or a stream that its reader has left would be guarded on, since these bits stay."""
    parser = nf("parser", on=["tcp.data"], publishes=["http.request"], commands=True)
    judge = nf("judge", on=[("http.request", "port 80")], inline=True)
    reads_too = nf("reads_too", on=[("tcp.data", "port 80"), "http.request"], inline=True)
    _, judging, reading = plan(parser, judge, reads_too).nfs
    stream = built_in().resolve("tcp.data").number
    for bit in judging.bits:
        assert bit.guards == (bit.follows is not None)
    assert any(stream in bit.wanted and not bit.guards for bit in judging.bits)
    (own,) = (bit for bit in reading.bits if bit.filter and bit.follows is None)
    assert own.guards


def test_where_nothing_is_switched_own_bits_guard(plan: Planner, nf: NF) -> None:
    parser = nf("parser", on=["tcp.data"], publishes=["http.request"])
    judging = plan(parser, nf("judge", on=["http.request"], inline=True)).nfs[1]
    assert all(bit.guards for bit in judging.bits)


def test_who_leaves_a_flow_goes_on_following_those_in_front(plan: Planner, nf: NF) -> None:
    """Or a publisher would free what the reader has not passed yet."""
    made = plan(
        nf("parser", on=["tcp.data"], publishes=["http.request"]),
        nf("log", on=["http.request", "tcp.start"], commands=True),
    )
    parser, log = (one.bits for one in made.nfs)
    switched = {bit for one in made.worker_switches() for bit in one.bits}
    follower = next(bit for bit in log if set(bit.wanted) >= set(parser[0].wanted))
    assert follower.bit not in switched
    assert {bit.bit for bit in log if bit.types} == switched


def test_the_ring_has_room_for_four_commands_a_packet(plan: Planner, nf: NF) -> None:
    made = plan(nf("ids", on=["tcp.data"], commands=True))
    assert made.command_delay(made.nfs[0]) == 8192
    assert made.nfs[0].shape.command_slots == 4 * 8192


def test_a_drop_leaves_the_bits_on_by_which_others_see_what_is_published(
    plan: Planner, nf: NF
) -> None:
    """A filter or a share has to be in the mask of the entry that was published from."""
    made = plan(
        nf("parser", on=["tcp.data"], publishes=["http.request"]),
        nf("firewall", on=["tcp.data"], inline=True, commands=True),
        nf("filtered", on=[("http.request", "port 80"), ("tcp.data", "port 81")]),
        nf("shared", on=["http.request", ("tcp.data", "port 82")], instances=2),
    )
    bits = {bit.bit: bit for one in made.nfs[2:] for bit in one.bits if bit.filter or bit.types}
    (switch,) = made.worker_switches()
    assert {bits[one].filter for one in switch.drops if one in bits} == {"", "port 81", "port 82"}
    left_on = [bit for one, bit in bits.items() if one not in switch.drops and bit.types]
    assert [bit.filter for bit in left_on] == ["port 80", "", ""]
