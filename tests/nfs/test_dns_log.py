"""dns_log: questions and answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from microbox.testing import Result, run_nf


@pytest.fixture(scope="module")
def result(demo: Path) -> Result:
    return run_nf("dns_log", demo)


def test_a_lookup_is_a_question_and_an_answer(sample: Path) -> None:
    question, answer = run_nf("dns_log", sample).records
    assert (question["type"], question["rrname"], question["rrtype"]) == (
        "query",
        "www.shop.example",
        "A",
    )
    assert (answer["type"], answer["id"], answer["rcode"]) == ("answer", question["id"], "NOERROR")
    assert answer["addresses"] == ["198.51.100.10"]


@pytest.mark.parametrize("kind", ["A", "AAAA", "MX", "TXT", "SRV", "PTR", "ANY"])
def test_types_have_their_names(result: Result, kind: str) -> None:
    assert kind in {line["rrtype"] for line in result.records}


def test_a_name_that_does_not_exist_says_so(result: Result) -> None:
    answers = [line for line in result.records if line["type"] == "answer"]
    missing = {line["rcode"] for line in answers if line["rrname"] == "missing.shop.example"}
    assert missing == {"NXDOMAIN"}


def test_questions_over_tcp_are_seen(result: Result) -> None:
    over_tcp = [line["rrname"] for line in result.records if line["proto"] == "TCP"]
    assert sorted(set(over_tcp)) == ["ns.shop.example", "shop.example", "www.shop.example"]


def test_the_summary_counts(result: Result) -> None:
    assert result.summary["queries"] == sum(1 for one in result.records if one["type"] == "query")
    assert next(iter(result.summary["names"])) == "www.shop.example"


def test_names_are_counted_up_to_a_limit(demo: Path) -> None:
    result = run_nf("dns_log", demo, names_max=2)
    assert len(result.summary["names"]) == 2
    assert len(result.nf.names) == 2  # type: ignore[attr-defined]
