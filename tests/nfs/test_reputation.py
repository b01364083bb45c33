"""reputation: asks a real HTTP server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from microbox.testing import run_nf

BAD = "198.51.100.20"


@dataclass
class Service:
    """What was asked, and how to answer."""

    url: str = ""
    status: int = 200
    body: bytes = b""
    asked: list[str] = field(default_factory=list)
    delay: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def service() -> Iterator[Service]:
    told = Service()
    told.delay.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = self.path.rpartition("/")[2]
            told.asked.append(address)
            if not told.delay.is_set():
                told.delay.wait(20)
                return
            body = told.body or json.dumps({"score": 90 if address == BAD else 10}).encode()
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}/addresses"
    yield told
    told.delay.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_bad_addresses_are_reported_and_each_is_asked_about_once(
    demo: Path, service: Service
) -> None:
    result = run_nf("reputation", demo, url=service.url, everything=True)
    assert {one.destination for one in result.alerts} == {BAD}
    assert len(result.alerts) > 1
    assert len(service.asked) == len(set(service.asked)) == result.summary["asked"]
    assert result.summary["bad"] == [BAD]
    assert {one["address"]: one["score"] for one in result.records}[BAD] == 90


def test_only_public_addresses_leave_the_house(demo: Path, service: Service) -> None:
    run_nf("reputation", demo, url=service.url)
    assert service.asked == []  # the demo's are of documentation and private networks


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"{}", "ValueError: the service answered 500"),
        (200, b"{", "JSONDecodeError: "),
    ],
)
def test_a_service_that_fails_is_left_alone_for_a_while(
    sample: Path, service: Service, status: int, body: bytes, error: str
) -> None:
    service.status, service.body = status, body
    result = run_nf("reputation", sample, url=service.url, everything=True)
    assert (result.summary["asked"], result.summary["failed"]) == (1, 1)
    assert error in result.records[0]["error"]
    assert result.problems == []


def test_a_service_that_does_not_answer_costs_no_more_than_the_timeout(
    sample: Path, service: Service
) -> None:
    service.delay.clear()
    result = run_nf("reputation", sample, url=service.url, everything=True, timeout=0.05)
    assert "TimeoutError" in result.records[0]["error"]


def test_nobody_listens_there(sample: Path) -> None:
    result = run_nf("reputation", sample, url="http://127.0.0.1:1/", everything=True)
    assert result.summary["failed"] == 1
    assert result.alerts == []
