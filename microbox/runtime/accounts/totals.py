"""What all workers and their NFs counted, as one worker would have counted it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from microbox.events.catalog import built_in
from microbox.runtime.accounts.counters import WorkerCounters

Name = TypeVar("Name", str, int)

OF_WHOLE_INPUT = ("input_bytes", "time")  # each worker has gone through all of it
PEAKS = (
    "chain_longest",
    "compared_segments_peak",
    "datagrams_waiting_peak",
    "flows_peak",
    "held_segments_peak",
    "judged_bytes_peak",
)
AT_PRESENT = ("flows_active", "held_segments", "held_bytes", "fragments_held_bytes", "finished")
BY_EACH_WORKER = ("timer", "system")
"""What every worker publishes for itself, at the same packets: these types and all below them."""


def total(workers: Sequence[WorkerCounters]) -> WorkerCounters:
    """Sums, but for what each worker counts of the whole input or publishes for itself."""
    whole = _total(workers)
    values, published = whole.values, whole.published
    values["finished"] = min(one.values["finished"] for one in workers)
    for number in _by_each_worker() & published.keys():
        once = max(one.published.get(number, 0) for one in workers)
        values["entries"] -= published[number] - once
        published[number] = once
    return whole


def in_sequence(workers: Sequence[WorkerCounters]) -> WorkerCounters:
    """Of workers each of which went on where the one before had died."""
    whole = _total(workers)
    for name in AT_PRESENT:
        whole.values[name] = workers[-1].values[name]
    return whole


def _total(workers: Sequence[WorkerCounters]) -> WorkerCounters:
    values = sums(one.values for one in workers)
    for name in (*OF_WHOLE_INPUT, *PEAKS):
        values[name] = max(one.values[name] for one in workers)
    return WorkerCounters(
        values=values,
        published=sums(one.published for one in workers),
        reasons=sums(one.reasons for one in workers),
        caps_met=_nested([one.caps_met for one in workers]),
        judges=_nested([one.judges for one in workers]),
        shadows=_nested([one.shadows for one in workers]),
        packets_unsorted=sum(one.packets_unsorted for one in workers),
        output_unfinished=sum(one.output_unfinished for one in workers),
    )


def _by_each_worker() -> set[int]:
    catalog = built_in()
    roots = map(catalog.resolve, BY_EACH_WORKER)
    return {one.number for root in roots for one in catalog.descendants(root)}


def sums(counts: Iterable[Mapping[Name, int]]) -> dict[Name, int]:
    """By name, in the order of the names: the same whoever counted what."""
    total: dict[Name, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def _nested(counts: Sequence[Mapping[Name, Mapping[str, int]]]) -> dict[Name, dict[str, int]]:
    names = sorted({name for one in counts for name in one})
    return {name: sums(one.get(name, {}) for one in counts) for name in names}
