"""A chain is as fast while others ask it and look on. Takes minutes: `make nightly`."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from control_peers import control_sockets, flood
from traffic import repeated

if TYPE_CHECKING:
    from tests.conftest import Workbench

RATE_KEPT = 0.95
REPETITIONS, PAIRS = 400, 5
SHOWN_TO_NOBODY = ["sh", "-c", 'exec "$@" >/dev/null', "sh"]

Disturbance = Callable[["Workbench"], AbstractContextManager[None]]

pytestmark = [
    pytest.mark.skipif("MICROBOX_NIGHTLY" not in os.environ, reason="takes minutes: make nightly"),
    pytest.mark.timeout(1800),
]


def test_a_chain_keeps_its_rate_under_a_flood(workbench: Workbench, demo: Path) -> None:
    ratios = rates_kept(workbench, demo, lambda bench: flood(control_sockets(bench)[0]))
    assert statistics.median(ratios) >= RATE_KEPT, ratios


@pytest.mark.parametrize("watched", ["packet", "tcp.data"])
def test_a_chain_keeps_its_rate_while_it_is_watched(
    workbench: Workbench, demo: Path, watched: str
) -> None:
    ratios = rates_kept(workbench, demo, lambda bench: watcher(bench, watched))
    assert statistics.median(ratios) >= RATE_KEPT, ratios


def rates_kept(bench: Workbench, demo: Path, disturbance: Disturbance) -> list[float]:
    """Of runs in pairs, how much of the rate is left to the one that is disturbed."""
    capture = repeated(demo, bench.folder / "long.pcap", times=REPETITIONS, apart=60)
    chain = bench.chain("flow_log", "dns_log", capture=capture)
    ratios = []
    for pair in range(PAIRS):
        order = (nobody, disturbance) if pair % 2 else (disturbance, nobody)
        rates = {one: rate(bench, chain, one) for one in order}  # neither gains by its place
        ratios.append(rates[disturbance] / rates[nobody])
    return ratios


def nobody(_: Workbench) -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def watcher(bench: Workbench, watched: str) -> Iterator[None]:
    """Somebody who looks on in a terminal beside the run, up to its end."""
    watch = bench.start(
        "watch", watched, "--json", prefix=["sh", "-c", 'exec "$@" >/dev/null', "sh"]
    )
    yield
    assert bench.end(watch).returncode == 0


def rate(bench: Workbench, chain: Path, disturbance: Disturbance) -> float:
    """Packets a second, as the run says."""
    run = bench.start("run", chain, "--overwrite", "--json")
    bench.until(lambda: control_sockets(bench))
    with disturbance(bench):
        ended = bench.end(run, timeout=100)
    assert ended.returncode == 0, ended.stderr
    return float(json.loads(ended.stdout)["timing"]["packets_per_second"])
