"""Parsers and the alert log, which a chain gets without naming them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from microbox.chain.additions import Addition, next_addition
from microbox.chain.model import Chain
from microbox.events.catalog import built_in

ChainOf = Callable[..., Chain]
NF = Callable[..., Any]


@pytest.fixture
def addition(chain: ChainOf) -> Callable[..., Addition | None]:
    """What a chain of hand-made NFs lacks first."""

    def find(*nfs: Any) -> Addition | None:
        return next_addition(chain(*nfs), [one.manifest() for one in nfs], built_in())

    return find


Find = Callable[..., Addition | None]


@pytest.mark.parametrize("name", ["http.request", "http", "flow.tcp.data.http.response"])
def test_a_parser_is_added_in_front_of_its_first_reader(addition: Find, nf: NF, name: str) -> None:
    added = addition(nf("flows", on=["tcp.end"]), nf("web", on=[name]), nf("more", on=["http"]))
    assert added is not None
    assert added.before == 1
    assert added.nf.name == "http_parser"
    assert added.nf.source.name == "http.py"
    assert added.nf.added_because == f"web subscribes to {name}"


def test_dns_is_parsed_for_whom_it_is(addition: Find, nf: NF) -> None:
    added = addition(nf("names", on=["dns.query"]))
    assert added is not None
    assert added.nf.name == "dns_parser"


@pytest.mark.parametrize("name", ["tcp.data", "tcp", "flow", "event"])
def test_no_parser_for_whom_the_stack_serves(addition: Find, nf: NF, name: str) -> None:
    assert addition(nf("reader", on=[name])) is None


def test_an_nf_of_the_chain_takes_the_parsers_place(addition: Find, nf: NF) -> None:
    own = nf("own_parser", on=["tcp.data"], publishes=["http.request", "http.response"])
    assert addition(own, nf("web", on=["http.request"])) is None


def test_a_name_that_is_taken_is_left_alone(addition: Find, nf: NF) -> None:
    added = addition(nf("http_parser", on=["http"]))
    assert added is not None
    assert added.nf.name == "http_parser_2"


def test_alerts_are_logged_at_the_end(addition: Find, nf: NF) -> None:
    added = addition(
        nf("ids", on=["tcp.data"], publishes=["alert"]),
        nf("scan", on=["tcp.start"], publishes=["alert"]),
    )
    assert added is not None
    assert added.before == 2
    assert added.nf.name == "alert_log"
    assert added.nf.added_because == "ids and scan publish alert"


def test_many_who_alert_are_not_all_named(addition: Find, nf: NF) -> None:
    added = addition(*(nf(f"n{one}", on=["tcp"], publishes=["alert"]) for one in range(5)))
    assert added is not None
    assert added.nf.added_because == "n0, n1, n2 and 2 more publish alert"


def test_who_takes_alerts_to_people_replaces_the_alert_log(addition: Find, nf: NF) -> None:
    ids = nf("ids", on=["tcp.data"], publishes=["alert"])
    assert addition(ids, nf("pager", on=["alert"])) is None


@pytest.mark.parametrize(
    "reader", [{"on": ["alert"], "inline": True}, {"on": ["event"]}], ids=["inline", "everything"]
)
def test_who_acts_on_alerts_or_reads_everything_does_not(
    addition: Find, nf: NF, reader: dict[str, Any]
) -> None:
    added = addition(nf("ids", on=["tcp.data"], publishes=["alert"]), nf("reader", **reader))
    assert added is not None
    assert added.nf.name == "alert_log"


def test_a_type_below_alert_is_an_alert(addition: Find, nf: NF) -> None:
    declares = {"alert.intrusion": {"rule": "text"}}
    added = addition(nf("ids", on=["tcp"], publishes=["alert.intrusion"], declares=declares))
    assert added is not None
    assert added.nf.name == "alert_log"


def test_nothing_is_added_to_a_chain_without_readers(addition: Find, nf: NF) -> None:
    assert addition(nf("flows", on=["tcp.end", "udp.end"])) is None
