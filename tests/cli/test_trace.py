"""`microbox trace` shows what packets take in the stack, of a chain that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from microbox.cli.trace import trace
from microbox.testing import Traffic, tcp
from tests.conftest import Workbench

FLOW = "10.0.0.1:1000 -> 10.0.0.2:80"

READER = """
class Reader(NetworkFunction):
    @on("tcp.data")
    def read(self, event):
        pass
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A connection that goes on for three minutes."""
    bench = Workbench(tmp_path_factory.mktemp("trace"))
    ticking = tcp("10.0.0.1:1000", "10.0.0.2:80")
    for _ in range(1800):
        ticking.send(b"tick").wait(0.1)
    capture = Traffic(ticking).write(bench.folder / "traffic.pcap")
    run = bench.start(
        "run", bench.chain(bench.nf("reader", READER), capture=capture), "--pace", "1"
    )
    bench.until(lambda: run.poll() is not None or bench.run("why", FLOW).returncode == 0)
    yield bench
    bench.run("stop")
    result = bench.end(run)
    bench.clean_up()
    assert result.returncode == 143, result.stderr


@pytest.fixture
def traced(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, Any]:
    """A packet whose time in the stack is known: of some it is not, where the thread that watches
    has to wait for a processor for too long."""
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    for _ in range(10):
        assert trace(FLOW, count=1, timeout=60, json=True) == 0
        (packet,) = json.loads(capsys.readouterr().out)["packets"]
        if packet["stack"]:
            return dict(packet)
    raise AssertionError("the worker measures nothing")


def test_the_time_in_the_stack_is_shown_by_part(traced: dict[str, Any]) -> None:
    assert [nf["nf"] for nf in traced["nfs"]] == ["reader"]
    parts = traced["stack"]["parts"]
    assert [one["part"] for one in parts] == ["decode", "tcp.monitor", "tcp.stream"]


def test_stages_add_up_to_no_more_than_the_whole(traced: dict[str, Any]) -> None:
    stack = traced["stack"]
    assert stack["waited"] >= 0
    assert stack["waited"] + stack["took"] > 0
    assert round(sum(one["took"] for one in stack["parts"]), 3) <= stack["took"]
    assert all(one["took"] >= 0 for one in stack["parts"])
