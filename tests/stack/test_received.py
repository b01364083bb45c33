"""Each packet that came was processed, dropped at a cap, or let out unseen at one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from stack_driver import Stack
from stack_driver.captures import frames_of
from stack_driver.packets import Frame

from microbox.chain.stack_settings import CAP_POLICIES
from microbox.runtime.accounts.balances import received

OFTEN = 1 << 29  # of 2^32: one time in eight, as if the cap was met


@cache
def frames(capture: Path) -> tuple[Frame, ...]:
    return tuple(frames_of(capture))


def terms(capture: Path, policy: str) -> dict[str, int]:
    caps = ("flows", "held", "fragments")
    settings: dict[str, Any] = {f"{cap}_at_cap": CAP_POLICIES[policy] for cap in caps}
    settings |= {f"force_{cap}": OFTEN for cap in caps}
    with Stack(force_seed=6, **settings) as stack:
        stack.send(*frames(capture))
        stack.finish()
        balance = received(vars(stack.counters))
    assert balance.total.count == len(frames(capture))
    assert balance.difference == 0
    return {part.what: part.count for part in balance.parts}


@pytest.mark.parametrize("policy", ["drop-packet", "drop-flow"])
def test_what_is_dropped_at_a_cap_is_not_processed(demo: Path, policy: str) -> None:
    found = terms(demo, policy)
    assert found["dropped at a cap"] > 0
    assert found["processed"] > 0
    assert "let out unseen at a cap" not in found


def test_what_goes_out_unseen_is_not_processed(demo: Path) -> None:
    found = terms(demo, "bypass")
    assert found["let out unseen at a cap"] > 0
    assert found["processed"] > 0
    assert found["dropped at a cap"] == 0


@pytest.mark.parametrize("policy", ["evict", "pass"])
def test_where_flows_are_given_up_each_packet_is_processed(demo: Path, policy: str) -> None:
    assert terms(demo, policy) == {"processed": len(frames(demo)), "dropped at a cap": 0}
