"""The report adds up, and says the same after every replay."""

import dataclasses
import json

from microbox.runtime.accounts.report import (
    Balance,
    InputReport,
    RunReport,
    Term,
    Timing,
    event_counts,
)

REPORT = RunReport(
    status=0,
    ended="finished",
    error="",
    chain="chain.yaml",
    input=InputReport("in.pcap", "pcap", 1000, 10, 900, {"tcp": 2}),
    output=None,
    nfs=[],
    events={"packet": 3, "flow.tcp.data": 5, "flow.tcp.data.http.request": 2},
    reasons={"fin": 2},
    alerts=0,
    first_alerts=[],
    top_flows=[],
    balances=[Balance("packets", Term(10, "in the file"), [Term(7, "TCP"), Term(3, "UDP")])],
    warnings=[],
    problems=[],
    logs={"flow_log.jsonl": 2},
    directory="microbox-logs.3",
    timing=Timing(1.5, 6.7, 20.0),
)


def test_parts_that_make_the_total_lose_nothing() -> None:
    (balance,) = REPORT.balances
    assert (balance.difference, balance.lost) == (0, 0)


def test_what_is_unaccounted_for_counts_as_lost() -> None:
    balance = Balance("packets", Term(10, "in the file"), [Term(7, "TCP")])
    assert (balance.difference, balance.lost) == (3, 3)


def test_a_term_that_is_a_loss_adds_up_and_is_lost() -> None:
    parts = [Term(8, "written"), Term(2, "lost on a full disk", is_loss=True)]
    balance = Balance("output", Term(10, "packets"), parts)
    assert (balance.difference, balance.lost) == (0, 2)


def test_json_has_the_counts_by_type_and_the_sum_of_losses() -> None:
    document = json.loads(REPORT.to_json())
    assert document["events"]["flow.tcp.data"] == 5
    assert document["lost"] == 0
    assert document["timing"]["seconds"] == 1.5


def test_the_kept_summary_does_not_depend_on_time_and_place() -> None:
    elsewhere = dataclasses.replace(REPORT, directory="logs.7", timing=Timing(9.0, 1.0, 1.0))
    assert elsewhere.to_summary_json() == REPORT.to_summary_json()
    assert elsewhere.to_json() != REPORT.to_json()


def test_ancestors_have_the_sum_of_what_is_below() -> None:
    assert event_counts(REPORT) == {
        "packet": 3,
        "flow": 7,
        "flow.tcp": 7,
        "flow.tcp.data": 7,
        "flow.tcp.data.http": 2,
        "flow.tcp.data.http.request": 2,
    }
