"""Of several processes that share out an NF's flows: the report of the NF as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from microbox.chain.plan import PlannedNF
from microbox.runtime.report import GateReport, NFReport

_MISSING = object()


def by_nf(nfs: Sequence[PlannedNF], reports: Sequence[NFReport], directory: Path) -> list[NFReport]:
    """One report for each NF of the chain; that of several instances has theirs in it."""
    entries: dict[str, list[NFReport]] = {}
    for nf, report in zip(nfs, reports, strict=True):
        entries.setdefault(nf.entry, []).append(report)
    return [
        together(entry, processes, directory) if len(processes) > 1 else processes[0]
        for entry, processes in entries.items()
    ]


def together(entry: str, instances: list[NFReport], directory: Path) -> NFReport:
    """What all instances of an NF did."""
    first = instances[0]
    log = f"{entry}.jsonl"
    return NFReport(
        name=entry,
        source=first.source,
        added_because=first.added_because,
        outcome=_outcome(instances),
        restarts=sum(one.restarts for one in instances),
        matched=sum(one.matched for one in instances),
        handled=sum(one.handled for one in instances),
        raised=sum(one.raised for one in instances),
        lost=sum(one.lost for one in instances),
        published=_sums(one.published for one in instances),
        alerts=sum(one.alerts for one in instances),
        verdicts=_sums(one.verdicts for one in instances),
        gate=_gate([one.gate for one in instances if one.gate]),
        records=sum(one.records for one in instances),
        records_lost=sum(one.records_lost for one in instances),
        log=log if (directory / log).exists() else "",
        summary=merged([one.summary for one in instances if one.summary]),
        instances=instances,
    )


def _outcome(instances: list[NFReport]) -> str:
    """Of those that did not end well, the first one's."""
    ill = next((one for one in instances if not one.is_well), None)
    return f"{ill.name} {ill.outcome}" if ill else instances[0].outcome


def _sums(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _gate(gates: list[GateReport]) -> GateReport | None:
    if not gates:
        return None
    return GateReport(
        packets=_sums(one.packets for one in gates),
        flows_dropped=sum(one.flows_dropped for one in gates),
        flows_reset=sum(one.flows_reset for one in gates),
        passed_unjudged=sum(one.passed_unjudged for one in gates),
    )


def merged(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What finish() said in all instances: whole numbers are added, mappings merged, lists put one
    behind the other. What is equal everywhere stays; anything else is left to the instances."""
    names = dict.fromkeys(name for one in summaries for name in one)
    values = {name: _merged([one[name] for one in summaries if name in one]) for name in names}
    return {name: value for name, value in values.items() if value is not _MISSING}


def _merged(values: list[Any]) -> Any:
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return sum(values)
    if kinds == {dict}:
        return merged(values)
    if kinds == {list}:
        return [item for value in values for item in value]
    return values[0] if all(value == values[0] for value in values) else _MISSING
