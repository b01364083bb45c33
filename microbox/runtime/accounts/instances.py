"""Of several processes that share out an NF's flows, as instances or for several workers: the
report of the NF as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from microbox.chain.plan import PlannedNF
from microbox.runtime.accounts.report import GateReport, NFReport, ShadowReport
from microbox.runtime.accounts.totals import sums

_MISSING = object()


def by_nf(nfs: Sequence[PlannedNF], reports: Sequence[NFReport], directory: Path) -> list[NFReport]:
    """One report for each NF of the chain; that of several instances has theirs in it."""
    entries: dict[str, list[NFReport]] = {}
    for nf, report in zip(nfs, reports, strict=True):
        entries.setdefault(nf.entry, []).append(report)
    return [
        _of_instances(entry, processes, directory) if len(processes) > 1 else processes[0]
        for entry, processes in entries.items()
    ]


def _of_instances(entry: str, instances: list[NFReport], directory: Path) -> NFReport:
    ill = next((one for one in instances if not one.is_well), None)
    log = f"{entry}.jsonl"
    return replace(
        together(instances),
        name=entry,
        outcome=f"{ill.name} {ill.outcome}" if ill else instances[0].outcome,
        log=log if (directory / log).exists() else "",
        instances=instances,
    )


def of_all_lanes(
    nfs: Sequence[PlannedNF], lanes: Mapping[str, Sequence[NFReport]], directory: Path
) -> list[NFReport]:
    """Of the same NFs' processes in each lane, in the same order, by the name of the lane's worker:
    one report for each process that there would be with one worker."""
    if len(lanes) == 1:
        return [*next(iter(lanes.values()))]
    return [
        _of_one_nf(nf, dict(zip(lanes, processes, strict=True)), directory)
        for nf, processes in zip(nfs, zip(*lanes.values(), strict=True), strict=True)
    ]


def _of_one_nf(nf: PlannedNF, processes: Mapping[str, NFReport], directory: Path) -> NFReport:
    ill = ((worker, one) for worker, one in processes.items() if not one.is_well)
    outcome = next((f"{one.outcome} ({worker})" for worker, one in ill), "")
    total = together([*processes.values()])
    part, log = f"{nf.name}.part", f"{nf.name}.jsonl"
    if nf.spread:
        log = part if total.records else ""
    elif not (directory / log).exists():
        log = ""
    return replace(total, outcome=outcome or total.outcome, log=log)


def with_past(
    nfs: Sequence[PlannedNF],
    reports: Sequence[NFReport],
    past: Sequence[tuple[PlannedNF, NFReport]],
) -> tuple[list[PlannedNF], list[NFReport]]:
    """With what processes of the same NFs did before the worker was another one; NFs that had left
    by then come last."""
    before: dict[str, list[NFReport]] = {}
    for nf, report in past:
        before.setdefault(nf.name, []).append(report)
    planned = {nf.name: nf for nf, _ in past}
    now = [_in_sequence(before.pop(nf.name, []), one) for nf, one in zip(nfs, reports, strict=True)]
    gone = [_in_sequence(one[:-1], one[-1]) for one in before.values()]
    return [*nfs, *(planned[name] for name in before)], [*now, *gone]


def _in_sequence(before: Sequence[NFReport], now: NFReport) -> NFReport:
    logs = [one.log for one in (now, *before) if one.log]
    return replace(
        together([*before, now]),
        outcome=now.outcome,
        log=logs[0] if logs else "",
    )


def together(processes: Sequence[NFReport]) -> NFReport:
    """What all these processes of an NF did; the rest is the first one's."""
    return replace(
        processes[0],
        restarts=sum(one.restarts for one in processes),
        matched=sum(one.matched for one in processes),
        handled=sum(one.handled for one in processes),
        raised=sum(one.raised for one in processes),
        lost=sum(one.lost for one in processes),
        published=sums(one.published for one in processes),
        alerts=sum(one.alerts for one in processes),
        verdicts=sums(one.verdicts for one in processes),
        gate=_gate([one.gate for one in processes if one.gate]),
        shadow=shadow_of_all([one.shadow for one in processes if one.shadow]),
        records=sum(one.records for one in processes),
        records_lost=sum(one.records_lost for one in processes),
        summary=merged([one.summary for one in processes if one.summary]),
    )


def _gate(gates: list[GateReport]) -> GateReport | None:
    if not gates:
        return None
    return GateReport(
        packets=sums(one.packets for one in gates),
        flows_dropped=sum(one.flows_dropped for one in gates),
        flows_reset=sum(one.flows_reset for one in gates),
        passed_unjudged=sum(one.passed_unjudged for one in gates),
        edits=sum(one.edits for one in gates),
        edits_refused=sum(one.edits_refused for one in gates),
    )


def shadow_of_all(shadows: Sequence[ShadowReport]) -> ShadowReport | None:
    """What all these processes of an NF would have done: each has other flows. None: there is
    none."""
    if not shadows:
        return None
    return ShadowReport(
        packets=sums(one.packets for one in shadows),
        flows=sum(one.flows for one in shadows),
        flows_dropped=sum(one.flows_dropped for one in shadows),
        flows_reset=sum(one.flows_reset for one in shadows),
        dropped_already=sum(one.dropped_already for one in shadows),
        rewrites=sum(one.rewrites for one in shadows),
        edits=sum(one.edits for one in shadows),
        passed_unjudged=sum(one.passed_unjudged for one in shadows),
        promoted=shadows[0].promoted,
    )


def merged(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What finish() said in all processes: whole numbers are added, mappings merged, lists put one
    behind the other. What is equal everywhere stays; anything else is left out. Names that were in
    alphabetical order, or in that of their counts, stay so."""
    names = list(dict.fromkeys(name for one in summaries for name in one))
    if all([*one] == sorted(one) for one in summaries):
        names.sort()
    values = {name: _merged([one[name] for one in summaries if name in one]) for name in names}
    values = {name: value for name, value in values.items() if value is not _MISSING}
    if all(map(_is_ranked, summaries)) and _has_counts_alone(values):
        return dict(sorted(values.items(), key=_rank))
    return values


def _has_counts_alone(summary: Mapping[str, Any]) -> bool:
    return all(type(value) is int for value in summary.values())


def _is_ranked(summary: Mapping[str, Any]) -> bool:
    """The largest count first, equal ones by name."""
    rows = list(summary.items())
    return _has_counts_alone(summary) and rows == sorted(rows, key=_rank)


def _rank(row: tuple[str, int]) -> tuple[int, str]:
    return -row[1], row[0]


def _merged(values: list[Any]) -> Any:
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return sum(values)
    if kinds == {dict}:
        return merged(values)
    if kinds == {list}:
        return [item for value in values for item in value]
    return values[0] if all(value == values[0] for value in values) else _MISSING
