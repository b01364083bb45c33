"""What is derived from a chain and the manifests of its NFs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from microbox.chain.errors import ChainErrors
from microbox.chain.plan import Plan
from microbox.channel.messages import AreaShape, Bit, WorkerTimer
from microbox.events.catalog import built_in

Planner = Callable[..., Plan]
NF = Callable[..., Any]


def number(name: str) -> int:
    return built_in().resolve(name).number


def numbers(*names: str) -> list[int]:
    return sorted(number(name) for name in names)


END = "system.end_of_input"


def test_an_nf_without_filters_has_one_bit_that_also_brings_the_end_of_input(
    plan: Planner, nf: NF
) -> None:
    flows = plan(nf("flows", on=["tcp.start", "tcp.end"])).nfs[0]
    expected = numbers("tcp.start", "tcp.end", END)
    assert flows.bits == [Bit(0, "", types=expected, wanted=expected)]


def test_a_type_brings_all_published_types_below_it_and_no_abstract_ones(
    plan: Planner, nf: NF
) -> None:
    bit = plan(nf("udp", on=["udp"])).nfs[0].bits[0]
    assert bit.types == numbers("udp.start", "udp.datagram", "udp.icmp_error", "udp.end", END)


def test_each_distinct_filter_has_a_bit_and_the_first_bit_has_none(plan: Planner, nf: NF) -> None:
    web = nf(
        "web",
        on=[("tcp.start", "tcp port 80"), ("tcp.end", "tcp  port 80"), ("tcp.start", "port 81")],
    )
    assert plan(web).nfs[0].bits == [
        Bit(0, "", numbers(END), numbers(END)),
        Bit(1, "tcp port 80", numbers("tcp.start", "tcp.end"), numbers("tcp.start", "tcp.end")),
        Bit(2, "port 81", numbers("tcp.start"), numbers("tcp.start")),
    ]


def test_bits_are_numbered_through_the_chain(plan: Planner, nf: NF) -> None:
    made = plan(nf("a", on=[("tcp.start", "port 1")]), nf("b", on=["udp"]))
    assert [[bit.bit for bit in one.bits] for one in made.nfs] == [[0, 1], [2]]
    assert [(one.nf, one.bit) for one in made.worker_subscriptions()] == [(0, 0), (0, 1), (1, 2)]


def test_a_filter_does_not_apply_to_what_has_no_packet(plan: Planner, nf: NF) -> None:
    everything = plan(nf("all", on=[("event", "tcp")], every=[5])).nfs[0]
    assert number("timer") not in everything.bits[1].types
    assert number(END) not in everything.bits[1].types
    assert number("tcp.data") in everything.bits[1].types
    assert number("timer") in everything.bits[0].types


# --- readers of what NFs publish ---


def test_a_reader_is_named_wherever_the_publisher_is(plan: Planner, nf: NF) -> None:
    parser = nf("parser", on=["tcp.data"], publishes=["http.request"])
    reader = plan(parser, nf("reader", on=["http.request"])).nfs[1]
    assert reader.reads == [0]
    assert reader.bits == [
        Bit(1, "", types=numbers("http.request", END), wanted=numbers("tcp.data", END))
    ]


def test_a_reader_follows_under_the_publishers_filter(plan: Planner, nf: NF) -> None:
    parser = nf("parser", on=[("tcp.data", "port 80")], publishes=["http.request"])
    reader = plan(parser, nf("reader", on=["http.request"])).nfs[1]
    assert reader.bits == [
        Bit(2, "", types=numbers("http.request", END), wanted=numbers(END)),
        Bit(3, "port 80", types=[], wanted=numbers("tcp.data")),
    ]


def test_a_readers_own_filter_is_answered_for_all_that_the_publisher_reads(
    plan: Planner, nf: NF
) -> None:
    parser = nf("parser", on=[("tcp.data", "port 80")], publishes=["http.request"])
    reader = plan(parser, nf("reader", on=[("http.request", "host 10.0.0.1")])).nfs[1]
    by_filter = {bit.filter: bit for bit in reader.bits}
    assert by_filter["host 10.0.0.1"].types == numbers("http.request")
    assert by_filter["host 10.0.0.1"].wanted == numbers("tcp.data")
    assert by_filter["port 80"].wanted == numbers("tcp.data")


def test_a_reader_of_a_reader_follows_the_whole_way(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("parser", on=[("tcp.data", "port 80")], publishes=["http.request"]),
        nf("ids", on=["http.request"], publishes=["alert"]),
        nf("log", on=["alert"]),
    )
    log = {bit.filter: bit for bit in made.nfs[2].bits}
    assert made.nfs[2].reads == [1]
    assert log["port 80"].wanted == numbers("tcp.data")
    assert log[""].types == numbers("alert", END)


@pytest.mark.parametrize("chain_length", [2, 3, 4])
def test_every_entry_that_names_a_publisher_names_its_reader(
    plan: Planner, nf: NF, chain_length: int
) -> None:
    """The property that the bus relies on, over filters that all differ."""
    nfs = [nf("source", on=[("tcp.data", "port 1"), "udp"], publishes=["alert"], every=[7])]
    for step in range(1, chain_length):
        nfs.append(nf(f"r{step}", on=["alert", ("icmp", f"host {step}")], publishes=["alert"]))
    made = plan(*nfs)
    for reader in made.nfs:
        for publisher in (made.nfs[index] for index in reader.reads):
            for bit in publisher.bits:
                (same,) = [one for one in reader.bits if one.filter == bit.filter]
                assert set(bit.wanted) <= set(same.wanted)
            assert set(publisher.periods) <= set(reader.periods)


def test_followers_of_many_filters_share_the_first_bit(plan: Planner, nf: NF) -> None:
    filters = [("tcp.data", f"port {one}") for one in range(9)]
    made = plan(nf("ids", on=filters, publishes=["alert"]), nf("log", on=["alert"]))
    assert made.nfs[1].bits == [
        Bit(10, "", types=numbers("alert", END), wanted=numbers("tcp.data", END))
    ]


def test_timers_of_a_publisher_name_its_readers_too(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("rates", on=["packet"], every=[1_000], publishes=["alert"]),
        nf("other", on=["packet"], every=[1_000, 5_000]),
        nf("log", on=["alert"]),
    )
    assert made.worker_timers() == [WorkerTimer(1_000, [0, 1, 2]), WorkerTimer(5_000, [1])]
    assert number("timer") not in made.nfs[2].bits[0].types


def test_only_earlier_nfs_are_read(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("ids", on=["tcp.data"]), nf("parser", on=["tcp.data"], publishes=["http.request"])
    )
    assert made.nfs[0].reads == []
    assert number("http.request") not in made.nfs[0].bits[0].types


def test_bytes_do_not_bring_what_others_made_of_them(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("http", on=["tcp.data"], publishes=["http.request"]),
        nf("tls", on=["tcp.data"], publishes=["tls.client_hello"]),
        nf("ids", on=["tcp.data"]),
    )
    assert [one.bits[0].types for one in made.nfs] == [numbers("tcp.data", END)] * 3
    assert [one.barrier for one in made.nfs] == [[], [], []]


@pytest.mark.parametrize("above", ["http", "tcp", "event"])
def test_a_type_that_nobody_publishes_brings_what_nfs_publish_below_it(
    plan: Planner, nf: NF, above: str
) -> None:
    made = plan(nf("parser", on=["tcp.data"], publishes=["http.request"]), nf("log", on=[above]))
    assert number("http.request") in made.nfs[1].bits[0].types
    assert made.nfs[1].reads == [0]


def test_an_nf_does_not_read_itself(plan: Planner, nf: NF) -> None:
    made = plan(nf("scan", on=["event"], publishes=["alert"]))
    assert made.nfs[0].reads == []
    assert number("alert") not in made.nfs[0].bits[0].types


# --- types of users ---


def test_user_types_are_numbered_behind_the_built_in_ones(plan: Planner, nf: NF) -> None:
    declares = {"flow.tcp.data.smtp": {"command": "text"}}
    made = plan(
        nf("smtp", on=["tcp.data"], publishes=["tcp.data.smtp"], declares=declares),
        nf("log", on=["tcp.data.smtp"], declares=declares),
    )
    assert [one.name for one in made.user_types] == ["flow.tcp.data.smtp"]
    first = len(built_in().types)
    assert made.catalog.by_number(first).name == "flow.tcp.data.smtp"
    assert first in made.nfs[1].bits[0].types


# --- order ---


def test_readers_run_beside_each_other(plan: Planner, nf: NF) -> None:
    made = plan(nf("a", on=["tcp"]), nf("b", on=["tcp"]), nf("c", on=["packet"]))
    assert [one.barrier for one in made.nfs] == [[], [], []]
    assert [[one.name for one in stage] for stage in made.stages()] == [["a", "b", "c"]]


def test_nobody_reads_past_an_nf_that_may_drop_the_same_protocol(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("flows", on=["tcp.start"]),
        nf("firewall", on=["tcp.start"], inline=True),
        nf("ids", on=["tcp.data"]),
        nf("names", on=["udp.datagram"]),
    )
    assert [one.barrier for one in made.nfs] == [[], [], [1], []]
    assert made.nfs[2].barrier_because == {1: "it may drop tcp"}
    assert [one.stage for one in made.nfs] == [0, 0, 1, 0]


def test_packets_and_flows_of_a_protocol_belong_together(plan: Planner, nf: NF) -> None:
    made = plan(nf("firewall", on=["tcp.start"], inline=True), nf("count", on=["packet.ip.tcp"]))
    assert made.nfs[1].barrier == [0]


def test_a_drop_because_of_an_nfs_event_concerns_what_that_nf_reads(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("dns", on=["udp.datagram"], publishes=["dns.query"]),
        nf("block", on=["dns.query"], inline=True),
        nf("udp", on=["udp"]),
        nf("tcp", on=["tcp"]),
    )
    assert made.nfs[2].barrier == [1]
    assert made.nfs[3].barrier == []


def test_a_reader_waits_for_the_publisher_and_says_why(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("parser", on=["tcp.data"], publishes=["http.request", "http.response"]),
        nf("log", on=["http"]),
    )
    assert made.nfs[1].barrier_because == {0: "reads its http.request, http.response"}


def test_who_reads_in_batches_waits_for_all_who_are_waited_for(plan: Planner, nf: NF) -> None:
    front = [
        nf("parser", on=["tcp.data"], publishes=["http.request"]),
        nf("ids", on=["http.request"], publishes=["alert"]),
    ]
    assert plan(*front, nf("single", on=["alert"])).nfs[2].barrier == [1]
    in_batches = plan(*front, nf("columns", batch=["alert"])).nfs[2]
    assert in_batches.barrier == [0, 1]
    assert in_batches.barrier_because[0] == "ids waits for it"
    assert in_batches.reads == [1]


def test_the_stage_is_the_longest_way(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("one", on=["tcp.data"], publishes=["http.request"]),
        nf("two", on=["http.request"], publishes=["alert"]),
        nf("three", on=["alert", "http.request"]),
    )
    assert [one.stage for one in made.nfs] == [0, 1, 2]


# --- modules ---


def test_only_modules_that_a_subscription_needs_run_and_it_is_named(plan: Planner, nf: NF) -> None:
    made = plan(nf("flows", on=["tcp.start"]), nf("ids", on=["tcp.data"]))
    assert [(one.name, one.because) for one in made.modules] == [
        ("tcp.monitor", (("flows", "tcp.start"), ("ids", "tcp.data"))),
        ("tcp.stream", (("ids", "tcp.data"),)),
    ]


def test_packets_need_no_module(plan: Planner, nf: NF) -> None:
    assert plan(nf("count", on=["packet"])).modules == []


# --- memory ---


def test_only_publishers_have_a_log_of_their_own_and_only_inline_nfs_verdicts(
    plan: Planner, nf: NF
) -> None:
    made = plan(
        nf("reader", on=["tcp"]),
        nf("ids", on=["tcp.data"], publishes=["alert"]),
        nf("firewall", on=["tcp.start"], inline=True),
        log_slots=8192,
    )
    reader, ids, firewall = (one.shape for one in made.nfs)
    assert reader == AreaShape(8192, 0, 0, is_inline=False)
    assert ids.own_slots > 0
    assert ids.ring_bytes > 0
    assert firewall == AreaShape(8192, 0, 0, is_inline=True)


def test_batches_are_cut_within_the_log(plan: Planner, nf: NF) -> None:
    made = plan(nf("columns", batch=["packet"]), nf("single", on=["packet"]), log_slots=4096)
    assert [one.cut for one in made.nfs] == [1024, 0]


# --- failure ---


def test_an_nf_that_may_drop_fails_closed_unless_told_otherwise(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("strict", on=["tcp"], inline=True),
        nf("lax", on=["tcp"], inline=True, on_failure="open"),
        nf("reader", on=["tcp"]),
    )
    assert [one.fails_closed for one in made.nfs] == [True, False, False]


def test_whom_a_closed_nf_reads_fails_closed_as_well(plan: Planner, nf: NF) -> None:
    made = plan(
        nf("parser", on=["tcp.data"], publishes=["http.request"]),
        nf("ids", on=["http.request"], publishes=["alert"]),
        nf("block", on=["alert"], inline=True),
        nf("other", on=["tcp.data"], publishes=["alert"]),
    )
    assert [one.fails_closed for one in made.nfs] == [True, True, True, False]
    assert [one.shape.is_inline for one in made.nfs] == [True, True, True, False]
    assert [one.is_inline for one in made.nfs] == [False, False, True, False]


# --- limits ---


def test_more_subscriptions_than_the_mask_has_bits(plan: Planner, nf: NF) -> None:
    nfs = [
        nf(f"nf{index}", on=[("tcp.start", f"port {index * 100 + one}") for one in range(30)])
        for index in range(5)
    ]
    with pytest.raises(ChainErrors) as raised:
        plan(*nfs)
    assert str(raised.value) == (
        "chain.yaml:7:5: with 'nf4' that makes 155 pairs of NF and filter; expected at most 128 "
        "for a chain; handlers that share a filter share a place; so do NFs that read what it "
        "publishes"
    )


def test_more_filters_than_one_nf_may_have(plan: Planner, nf: NF) -> None:
    with pytest.raises(ChainErrors, match=r"makes 33 pairs .* expected at most 32 for one NF"):
        plan(nf("many", on=[("tcp.start", f"port {one}") for one in range(32)]))


def test_more_nfs_than_there_may_be(plan: Planner, nf: NF) -> None:
    with pytest.raises(ChainErrors, match=r"chain.yaml:67:5: the chain has 65 NFs"):
        plan(*(nf(f"nf{index}", on=["tcp.start"]) for index in range(65)))
