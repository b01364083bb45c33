"""tls_log: what clients offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microbox.testing import Result, run_nf


@pytest.fixture(scope="module")
def result(demo: Path) -> Result:
    return run_nf("tls_log", demo)


def hello(result: Result, name: str) -> dict[str, Any]:
    (line,) = [one for one in result.records if one["sni"] == name]
    return line


def test_the_version_is_the_highest_offered(result: Result) -> None:
    assert hello(result, "secure.shop.example")["version"] == "TLS 1.3"
    assert hello(result, "old.shop.example")["version"] == "TLS 1.2"


def test_application_protocols_come_in_their_order(result: Result) -> None:
    assert hello(result, "v6.shop.example")["alpn"] == ["h2", "http/1.1", "spdy/3"]


def test_a_hello_of_several_segments_is_read(result: Result) -> None:
    protocols = hello(result, "big.shop.example")["alpn"]
    assert protocols == [f"protocol-{number:04}" for number in range(1, 201)]


def test_a_hello_may_name_no_server(result: Result) -> None:
    assert sum(1 for line in result.records if line["sni"] == "") == 3


def test_it_is_found_on_any_port(result: Result) -> None:
    assert {line["dest_port"] for line in result.records} == {443, 4433, 8000}


def test_the_summary_counts(result: Result) -> None:
    assert result.summary["hellos"] == len(result.records)
    assert result.summary["names"]["www.shop.example"] == 4
