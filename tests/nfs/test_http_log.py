"""http_log: a line for each request, with its response."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microbox.testing import Result, run_nf


@pytest.fixture(scope="module")
def result(demo: Path) -> Result:
    return run_nf("http_log", demo)


def lines(result: Result, **wanted: Any) -> list[dict[str, Any]]:
    return [
        one for one in result.records if all(one.get(key) == value for key, value in wanted.items())
    ]


def test_a_line_joins_request_and_response(sample: Path) -> None:
    (line,) = run_nf("http_log", sample).records
    assert line["http_method"] == "GET"
    assert line["hostname"] == "www.shop.example"
    assert line["url"] == "/hello.txt"
    assert line["http_user_agent"].startswith("curl/")
    assert line["status"] == 200
    assert line["http_content_type"] == "text/plain"
    assert line["length"] == len("hello\n")
    assert line["complete"] is True
    assert line["duration"] > 0


@pytest.mark.parametrize(
    ("method", "url", "status", "length"),
    [
        ("HEAD", "/", 200, 0),
        ("GET", "/nothing", 204, 0),
        ("GET", "/broken", 500, 177),
        ("DELETE", "/item/7", 405, 157),
    ],
)
def test_statuses_and_lengths(
    result: Result, method: str, url: str, status: int, length: int
) -> None:
    (line,) = lines(result, http_method=method, url=url)
    assert (line["status"], line["length"]) == (status, length)


def test_whole_downloads_have_their_length_and_one_given_up_has_not(result: Result) -> None:
    whole = lines(result, url="/large.bin", status=200, complete=True)
    assert [one["length"] for one in whole] == [700_000] * 3
    (given_up,) = lines(result, url="/large.bin", complete=False)
    assert 0 < given_up["length"] < 700_000


def test_a_range_is_as_long_as_asked_for(result: Result) -> None:
    (line,) = lines(result, url="/large.bin", status=206)
    assert line["length"] == 2000


def test_pipelined_requests_get_their_own_responses(result: Result) -> None:
    flow = next(one["flow_id"] for one in result.records if one["url"] == "/logo.png")
    get, head, last = lines(result, flow_id=flow)
    assert (get["url"], get["http_content_type"]) == ("/hello.txt", "text/plain")
    assert (head["http_method"], head["length"]) == ("HEAD", 0)
    assert (last["url"], last["http_content_type"]) == ("/item/1.json", "application/json")


def test_what_a_server_answers_to_what_is_no_http_has_no_method(result: Result) -> None:
    (line,) = [one for one in result.records if "http_method" not in one]
    assert line["status"] == 400
