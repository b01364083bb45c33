"""What has to add up at the end of a run."""

from __future__ import annotations

import dataclasses

import pytest

from microbox.runtime.accounts.balances import lagging
from microbox.runtime.accounts.report import NFReport

SLOW = NFReport(
    name="slow",
    source="slow.py",
    added_because="",
    outcome="finished",
    restarts=0,
    matched=70,
    handled=70,
    raised=0,
    lost=30,
    published={},
    alerts=0,
    verdicts={},
    gate=None,
    shadow=None,
    records=0,
    records_lost=0,
    log="",
    summary={},
)


@pytest.mark.parametrize(("is_attached", "lost"), [(False, 30), (True, 0)])
def test_what_an_nf_skips_is_lost_unless_somebody_only_looked_on(
    is_attached: bool, lost: int
) -> None:
    (balance,) = lagging([dataclasses.replace(SLOW, attached=is_attached)])
    assert (balance.total.count, [part.count for part in balance.parts]) == (100, [70, 30])
    assert balance.lost == lost
