"""The event types of a chain that runs: how many events of each there were, who publishes them and
who reads them. Counted by those who publish, in any case; nothing is counted for this.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from microbox.chain.plan import Plan, PlannedNF
from microbox.runtime.running import Running


def event_view(running: Running) -> dict[str, Any]:
    """What the control socket answers: `declared`, the types that are not built in, in the order
    of their numbers; `published`, counts by full name; `publishers` and `subscribers`, names of NFs
    by the name of the type that they say."""
    return {
        "declared": [dataclasses.asdict(one) for one in running.plan.user_types],
        "published": published(running),
        "publishers": _by_type(running.plan, _publishes),
        "subscribers": _by_type(running.plan, _subscribes),
    }


def published(running: Running) -> dict[str, int]:
    """Events by full name, those of workers and NFs that are gone included."""
    counts: Counter[int] = Counter()
    for lane in running.all_lanes:
        counts.update(lane.pages.published_by_type())
        for nf in lane.all_nfs:
            counts.update(nf.counters().published)
    catalog = running.plan.catalog
    return {catalog.by_number(number).name: counts[number] for number in sorted(counts)}


def _publishes(nf: PlannedNF) -> Iterable[str]:
    return nf.manifest.publishes


def _subscribes(nf: PlannedNF) -> Iterable[str]:
    handlers = (name for one in nf.manifest.handlers for name in one.types)
    return [*handlers, *(["timer"] if nf.manifest.timers else [])]


def _by_type(plan: Plan, says: Callable[[PlannedNF], Iterable[str]]) -> dict[str, list[str]]:
    """NFs by the full name of each type that they say, in the order of the chain. Those that share
    out an NF's flows go by its name."""
    found: dict[str, dict[str, None]] = {}
    for nf in plan.nfs:
        for name in says(nf):
            found.setdefault(plan.catalog.resolve(name).name, {})[nf.entry] = None
    return {name: list(nfs) for name, nfs in found.items()}
