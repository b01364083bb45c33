"""Several workers, as a chain file or the command line says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microbox.chain.errors import ChainErrors, Position
from microbox.chain.load import load_chain
from microbox.chain.model import Overrides
from microbox.chain.plan import Plan

NF = Callable[..., Any]
MakePlan = Callable[..., Plan]

REFUSED = (
    "'scan' keeps what it knows of all flows together (`per_flow = False` in its class), so 3 "
    "workers cannot share them out; expected 1; `instances` of other NFs spread the work as well"
)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    monkeypatch.chdir(tmp_path)
    Path("capture.pcap").touch()

    def write_chain(line: str) -> Path:
        Path("chain.yaml").write_text(f"input: capture.pcap\nchain: [flow_log]\n{line}\n")
        return Path("chain.yaml")

    return write_chain


Write = Callable[[str], Path]


def test_there_is_one_where_nothing_is_said(write: Write) -> None:
    assert load_chain(write("")).workers == 1


def test_the_file_says_how_many(write: Write) -> None:
    assert load_chain(write("workers: 3")).workers == 3


def test_the_command_line_says_otherwise(write: Write) -> None:
    assert load_chain(write("workers: 3"), Overrides(workers=2)).workers == 2


@pytest.mark.parametrize(
    ("written", "came"),
    [
        ("0", "0 (a whole number)"),
        ("65", "65 (a whole number)"),
        ("two", "'two' (text)"),
        ("true", "true"),
        ("1.5", "1.5 (a number)"),
    ],
)
def test_what_is_no_number_of_workers(write: Write, written: str, came: str) -> None:
    with pytest.raises(ChainErrors) as raised:
        load_chain(write(f"workers: {written}"))
    assert str(raised.value) == (
        f"chain.yaml:3:10: `workers` is {came}; expected how many workers share out the packets, "
        "1 to 64"
    )


@pytest.mark.parametrize(
    ("position", "place"),
    [(Position(2, 10), "chain.yaml:2:10"), (Position(file="--workers"), "--workers")],
)
def test_an_nf_that_keeps_state_over_flows_is_refused(
    nf: NF, plan: MakePlan, position: Position, place: str
) -> None:
    scan = nf("scan", on=["tcp.start"], per_flow=False)
    with pytest.raises(ChainErrors) as raised:
        plan(nf("log", on=["tcp"]), scan, workers=3, workers_position=position)
    assert str(raised.value) == f"{place}: {REFUSED}"


def test_one_worker_has_all_flows(nf: NF, plan: MakePlan) -> None:
    assert plan(nf("scan", on=["tcp.start"], per_flow=False), workers=1).nfs


def test_one_of_several_cannot_be_replaced(write: Write) -> None:
    with pytest.raises(ChainErrors) as raised:
        load_chain(write("workers: 2\non_worker_failure: restart"))
    assert str(raised.value) == (
        "chain.yaml:4:20: one of 2 workers cannot be replaced; expected `on_worker_failure: end`, "
        "or one worker"
    )
