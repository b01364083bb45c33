"""What is said where several workers do not fit the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from microbox.chain.model import Chain, Input
from microbox.chain.planner import make_plan
from microbox.events.catalog import built_in
from microbox.runtime.machine import available_memory, processors, warnings_about_workers

MANY = 1 << 50


@pytest.mark.parametrize(
    ("workers", "there", "free", "said"),
    [
        (1, 1, 1, []),
        (2, 2, MANY, []),
        (3, 2, MANY, ["3 workers take turns: there are 2 processors for them"]),
        (2, 1, MANY, ["2 workers take turns: there is 1 processor for them"]),
        (2, 2, 0, []),
        (
            2,
            2,
            4 << 20,
            [
                "2 workers share 24.0 MiB of memory with their NFs, and 4.0 MiB are free: fewer "
                "workers take less, as does a smaller log"
            ],
        ),
    ],
)
def test_what_is_said(workers: int, there: int, free: int, said: list[str]) -> None:
    chain = Chain("chain.yaml", Input((Path("in.pcap"),)), None, nfs=(), workers=workers)
    plan = make_plan(chain, [], built_in())
    assert warnings_about_workers(plan, processors=there, available=free) == said


def test_this_machine_has_a_processor_and_memory() -> None:
    assert processors() >= 1
    assert available_memory() > 0
