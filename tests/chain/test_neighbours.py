"""What an NF is told of those that it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microbox.chain.plan import Plan
from microbox.runtime.membership.neighbours import neighbours

Planner = Callable[..., Plan]
NF = Callable[..., Any]


def test_who_publishes_at_the_end_of_batches_is_told_to_those_that_read_it_over_others_too(
    plan: Planner, nf: NF
) -> None:
    made = plan(
        nf("batches", batch=["tcp.data"], publishes=["alert"]),
        nf("passes_on", on=["alert"], publishes=["tcp.data.http.request"]),
        nf("reads", on=["tcp.data.http.request"]),
        nf("at_once", on=["tcp.start"]),
    )
    batches, passes_on, reads, _ = made.nfs
    assert {one.index: one.cut for one in neighbours(made, passes_on)} == {
        batches.index: batches.cut,
        reads.index: batches.cut,
    }
    assert {one.index: one.cut for one in neighbours(made, reads)} == {1: batches.cut}
