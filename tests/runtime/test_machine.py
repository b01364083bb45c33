"""What is said where several workers do not fit the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microbox.chain.model import Chain, Input
from microbox.chain.plan import Plan
from microbox.chain.planner import make_plan
from microbox.chain.units import format_size
from microbox.events.catalog import built_in
from microbox.runtime.machine import (
    available_memory,
    processors,
    warnings_about_memory,
    warnings_about_workers,
)


def plan_of(**keys: Any) -> Plan:
    chain = Chain("chain.yaml", Input((Path("in.pcap"),)), None, nfs=(), **keys)
    return make_plan(chain, [], built_in())


@pytest.mark.parametrize(
    ("workers", "there", "said"),
    [
        (1, 1, []),
        (2, 2, []),
        (3, 2, ["3 workers take turns: there are 2 processors for them"]),
        (2, 1, ["2 workers take turns: there is 1 processor for them"]),
    ],
)
def test_what_is_said_of_processors(workers: int, there: int, said: list[str]) -> None:
    assert warnings_about_workers(plan_of(workers=workers), there) == said


@pytest.mark.parametrize("workers", [1, 2])
def test_a_chain_that_may_take_more_than_there_is_is_told_so(workers: int) -> None:
    plan = plan_of(workers=workers)
    most = workers * sum(part.size for part in plan.memory())
    assert warnings_about_memory(plan, most) == []
    (warning,) = warnings_about_memory(plan, most - 1)
    takes = {1: "the chain takes", 2: "2 workers take"}[workers]
    assert warning.startswith(f"{takes} up to {format_size(most)} of memory, and ")
    assert " are free; most of it: flows " in warning
    assert "MiB (`stack.flows_max`), held segments " in warning


def test_nothing_is_said_where_the_kernel_does_not_say_what_there_is() -> None:
    assert warnings_about_memory(plan_of(), 0) == []


def test_this_machine_has_a_processor_and_memory() -> None:
    assert processors() >= 1
    assert available_memory() > 0
