"""From counters, last words and logs to the report of a run."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from microbox.events.catalog import Catalog
from microbox.nf.record_forms import ALERT, eve_severity
from microbox.runtime.capture import about_input
from microbox.runtime.counters import NFCounters, WorkerCounters
from microbox.runtime.errors import FAILED
from microbox.runtime.instances import by_nf, of_all_lanes, with_past
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.log_parts import merge_parts
from microbox.runtime.report import (
    AlertReport,
    Balance,
    FlowReport,
    GateReport,
    InputReport,
    NFReport,
    OutputReport,
    ProblemReport,
    RunReport,
    ShadowReport,
    Term,
    Timing,
    WorkerReport,
)
from microbox.runtime.running import Running, RunOptions
from microbox.runtime.totals import in_sequence, sums, total

ALERT_LOG = "alert_log.jsonl"
ALERTS_SHOWN = 10
FLOWS_SHOWN = 10
TOP_FLOWS = "top_flows"  # in what finish() returns: shown once, for the run

FLOW_KINDS = ("tcp", "udp", "icmp", "other")
PACKET_KINDS = {
    "tcp": "TCP",
    "udp": "UDP",
    "icmp": "ICMP",
    "other": "other",
    "malformed": "malformed",
}
DROPPED_FOR = {
    "verdict.drop": "packets_dropped",
    "verdict.drop_flow": "packets_of_flows",
    "verdict.reset": "packets_of_resets",
    "nf.failed_closed": "unjudged_dropped",
}
EVENT_KINDS = ("packet", "flow.tcp", "flow.udp", "flow.icmp", "flow", "timer", "system")


@dataclass(slots=True)
class Ending:
    """How a run ends, as it becomes known. What comes first is what is said."""

    ended: str = "finished"
    error: str = ""
    status: int = 0
    is_stopping: bool = False
    is_abrupt: bool = False  # children were killed: what they say no more is no surprise
    seconds: float = 0.0

    def stop(self, ended: str, error: str, status: int) -> None:
        """The run ends early."""
        self.is_stopping = True
        if self.ended == "finished":
            self.ended = ended
        self.fail(error, status)

    def fail(self, error: str, status: int = FAILED) -> None:
        """Something went wrong, though the run may go on."""
        self.error = self.error or error
        self.status = self.status or status


def make_report(
    running: Running,
    options: RunOptions,
    ending: Ending,
    problems: list[ProblemReport],
    earlier_alerts: Sequence[bytes] = (),
) -> RunReport:
    """The report, when all processes have ended. `earlier_alerts`: lines of the alert log that are
    in a file of another name by now."""
    past = [_worker_counters(lane) for lane in running.past]
    workers = [_worker_counters(lane) for lane in running.lanes]
    worker = in_sequence([*past, total(workers)])
    counters = [nf.counters() for lane in running.all_lanes for nf in lane.all_nfs]
    catalog = running.plan.catalog
    directory = options.log_directory
    partitions = [lane.partition for lane in running.lanes]
    unmerged = merge_parts(directory, running.plan.chain.nfs, partitions)
    lanes = {
        lane.worker.name: [_nf_report(nf, its_worker, catalog) for nf in lane.all_nfs]
        for lane, its_worker in zip(running.lanes, workers, strict=True)
    }
    planned = [nf.planned for nf in running.lanes[0].all_nfs]
    nfs = of_all_lanes(planned, lanes, directory)
    before = [
        (nf.planned, _nf_report(nf, its_worker, catalog))
        for lane, its_worker in zip(running.past, past, strict=True)
        for nf in lane.all_nfs
    ]
    planned, nfs = with_past(planned, nfs, before)
    entries = by_nf(planned, nfs, directory)
    output = _output_report(running, worker)
    report = RunReport(
        status=ending.status,
        ended=ending.ended,
        error=ending.error,
        chain=running.chain.file,
        input=_input_report(running, worker),
        output=output,
        nfs=entries,
        events=_event_counts(worker, counters, catalog),
        reasons={
            reason.name: worker.reasons[reason.number]
            for reason in catalog.reasons
            if worker.reasons.get(reason.number)
        },
        caps_met=worker.caps_met,
        alerts=sum(nf.alerts for nf in nfs),
        first_alerts=_first_alerts(directory / ALERT_LOG, earlier_alerts),
        top_flows=_top_flows(running),
        balances=_balances(running, worker, counters, nfs),
        workers=_worker_reports(workers, lanes),
        warnings=unmerged,
        problems=problems,
        logs={nf.log: nf.records for nf in entries if nf.log},
        directory=str(directory),
        timing=_timing(worker, counters, ending.seconds),
    )
    for complaint in unmerged:
        ending.fail(complaint)
    report.warnings += _warnings(report, running, ending, worker.values["flows_active"])
    _judge(report, running, ending)
    return report


def _worker_counters(lane: Lane) -> WorkerCounters:
    """What a worker counted; of a dead one's output, what is in the file."""
    worker = lane.pages.counters()
    if lane.output_left is None:
        return worker
    left = lane.output_left.since(lane.output_before)
    values = worker.values
    due = values["output_packets"] + values["gate_waiting"] + worker.packets_unsorted
    in_file = {"output_packets": left.packets, "output_bytes": left.bytes, "gate_waiting": 0}
    return replace(worker, values={**values, **in_file}, output_unfinished=due - left.packets)


def _judge(report: RunReport, running: Running, ending: Ending) -> None:
    """A run that left something out has failed, even where all processes ended well."""
    lost_records = sum(nf.records_lost for nf in report.nfs)
    complaints = [lane.done.complaint for lane in running.lanes if lane.done]
    complaint = next(filter(None, complaints), "")
    if complaint:
        ending.fail(complaint)
    elif lost_records:
        ending.fail(f"{lost_records:,} log lines could not be written")
    report.status, report.error = ending.status, ending.error


def _input_report(running: Running, worker: WorkerCounters) -> InputReport:
    values, areas = worker.values, running.lanes[0].areas
    warnings = [lane.done.warning for lane in running.lanes if lane.done]
    first = next(filter(None, warnings), "")
    return InputReport(
        file=str(running.chain.input),
        format=areas.format,
        file_size=areas.file_size,
        packets=values["packets"],
        bytes=values["bytes"],
        flows={kind: values[f"flows_{kind}"] for kind in FLOW_KINDS},
        warning=about_input(first, running.options.capture),
    )


def _output_report(running: Running, worker: WorkerCounters) -> OutputReport | None:
    if running.chain.output is None:
        return None
    values = worker.values
    return OutputReport(
        file=str(running.chain.output),
        packets=values["output_packets"],
        bytes=values["output_bytes"],
        lost=values["output_lost"],
    )


def _nf_report(nf: RunningNF, worker: WorkerCounters, catalog: Catalog) -> NFReport:
    counters = nf.counters()
    values = counters.values
    last = nf.finished
    summary = last.summary if last else {}
    return NFReport(
        name=nf.planned.name,
        source=Path(nf.planned.source).name,
        added_because=nf.planned.added_because,
        outcome=nf.outcome,
        restarts=nf.lives.restarts,
        matched=values["matched"],
        handled=values["handled"],
        raised=values["raised"],
        lost=values["lost"],
        published=sums([_by_name(counters.published, catalog)]),
        alerts=values["alerts"],
        verdicts=sums([counters.verdicts]),
        gate=_gate_report(worker.judges[nf.planned.index]) if nf.is_judge else None,
        shadow=shadow_report(nf, worker.shadows[nf.planned.index]),
        records=last.records if last else values["records"],
        records_lost=last.records_lost if last else 0,
        log=Path(last.log_file).name if last and last.log_file else "",
        summary={name: each for name, each in summary.items() if name != TOP_FLOWS},
    )


def _gate_report(judge: dict[str, int]) -> GateReport:
    return GateReport(
        sums([_packets_dropped(judge)]),
        judge["flows_dropped"],
        judge["flows_reset"],
        judge["unjudged_passed"],
        judge["edits"],
        judge["edits_refused"],
    )


def shadow_report(nf: RunningNF, counted: dict[str, int]) -> ShadowReport | None:
    """`counted`: struct mb_shadow_counters of its index."""
    if not nf.was_shadow:
        return None
    promoted = nf.lives.promoted
    return ShadowReport(
        packets=sums([_packets_dropped(counted)]),
        flows=counted["flows"],
        flows_dropped=counted["flows_dropped"],
        flows_reset=counted["flows_reset"],
        dropped_already=counted["dropped_already"],
        rewrites=counted["rewrites"],
        edits=promoted.edits if promoted else nf.counters().values["edits"],
        passed_unjudged=counted["unjudged_passed"],
        promoted=promoted.event if promoted else None,
    )


def _packets_dropped(judge: dict[str, int]) -> dict[str, int]:
    return {reason: judge[counter] for reason, counter in DROPPED_FOR.items() if judge[counter]}


def _worker_reports(
    workers: list[WorkerCounters], lanes: dict[str, list[NFReport]]
) -> list[WorkerReport]:
    """[] where one worker did it all."""
    if len(workers) == 1:
        return []
    return [
        WorkerReport(name, worker.values["packets"], worker.values["entries"], nfs)
        for worker, (name, nfs) in zip(workers, lanes.items(), strict=True)
    ]


def _by_name(counts: dict[int, int], catalog: Catalog) -> dict[str, int]:
    """Only an NF that broke its own page counts types that there are not."""
    return {
        catalog.types[number].name: count
        for number, count in counts.items()
        if number < len(catalog.types)
    }


def _event_counts(
    worker: WorkerCounters, nfs: list[NFCounters], catalog: Catalog
) -> dict[str, int]:
    """By type, in the order of the catalog."""
    sources = [worker.published, *(nf.published for nf in nfs)]
    sums = {each.name: sum(one.get(each.number, 0) for one in sources) for each in catalog.types}
    return {name: count for name, count in sums.items() if count}


# --- what adds up ---


def _balances(
    running: Running,
    worker: WorkerCounters,
    counters: list[NFCounters],
    nfs: list[NFReport],
) -> list[Balance]:
    return [
        _packets(worker),
        *_output(running, worker),
        _entries(worker, running.plan.catalog),
        *_passed(running, worker),
        *_lagging(nfs),
        *_handled(nfs),
        *_commands(running, worker, counters),
        *_records(nfs),
    ]


def _packets(worker: WorkerCounters) -> Balance:
    values = worker.values
    parts = [Term(values[f"packets_{kind}"], words) for kind, words in PACKET_KINDS.items()]
    if worker.packets_unsorted:
        parts.append(Term(worker.packets_unsorted, "handled last, when the worker died"))
    return Balance("packets", Term(values["packets"], "read"), parts)


def _output(running: Running, worker: WorkerCounters) -> Iterator[Balance]:
    if running.chain.output is None:
        return
    values = worker.values
    parts = [
        Term(values["output_packets"], _written(values["gate_translated"])),
        Term(values["gate_dropped"], "dropped by NFs"),
        Term(values["gate_refused"], "dropped at a cap"),
        *_unseen(values["gate_unseen"]),
        *_kept(values["gate_fragments_kept"]),
        Term(values["gate_waiting"] + values["gate_held"], "without a verdict", is_loss=True),
        *_lost_with_worker(worker.output_unfinished),
        Term(values["output_lost"], "that could not be written", is_loss=True),
    ]
    made = values["resets_made"]
    total = Term(values["packets"] + made, f"packets, {made:,} of them RST" if made else "packets")
    yield Balance("output", total, parts)


def _unseen(packets: int) -> list[Term]:
    return [Term(packets, "dropped with bytes that no NF saw")] if packets else []


def _kept(fragments: int) -> list[Term]:
    return [Term(fragments, "fragments that cannot be translated")] if fragments else []


def _lost_with_worker(packets: int) -> list[Term]:
    words = "that the worker had not written when it died"
    return [Term(packets, words, is_loss=True)] if packets else []


def _written(translated: int) -> str:
    return f"written, {translated:,} of them translated" if translated else "written"


def _entries(worker: WorkerCounters, catalog: Catalog) -> Balance:
    sums: dict[str, int] = {}
    for name, count in _by_name(worker.published, catalog).items():
        kind = next((kind for kind in EVENT_KINDS if f"{name}.".startswith(f"{kind}.")), "other")
        sums[kind] = sums.get(kind, 0) + count
    parts = [Term(sums[kind], kind) for kind in (*EVENT_KINDS, "other") if kind in sums]
    return Balance("events", Term(worker.values["entries"], "published by the stack"), parts)


def _passed(running: Running, worker: WorkerCounters) -> Iterator[Balance]:
    """How far each NF got: those to the end, in all lanes, in one line; each other process in its
    own."""
    published = worker.values["entries"]
    incomplete = {
        nf: lane for lane in running.all_lanes for nf in lane.nfs if not _has_passed_all(lane, nf)
    }
    cut_off = {nf.planned.name for nf in incomplete}
    complete = [nf for nf in running.lanes[0].nfs if nf.planned.name not in cut_off]
    if complete:
        number = f"each of {len(complete)} NFs" if len(complete) > 1 else complete[0].planned.name
        yield Balance("read", Term(published, "events"), [Term(published, f"offered to {number}")])
    for nf, lane in incomplete.items():
        published = lane.pages.head
        parts = _parts_passed(nf, _position(lane, nf), published)
        yield Balance(f"read by {nf.name}", Term(published, "events"), parts)


def _position(lane: Lane, nf: RunningNF) -> int:
    return lane.pages.position(nf.planned.index, nf.pages.cursor)


def _has_passed_all(lane: Lane, nf: RunningNF) -> bool:
    is_at_end = _position(lane, nf) >= lane.pages.head
    return is_at_end and not (nf.lives.joined or nf.lives.missed)


def _parts_passed(nf: RunningNF, position: int, published: int) -> list[Term]:
    lives = nf.lives
    read = position - lives.joined - lives.missed
    words = "offered to it" if position >= published else f"before {nf.name} {nf.outcome}"
    parts = [
        Term(lives.joined, "before it came"),
        Term(read, words),
        Term(lives.missed, "while it was down", is_loss=True),
        Term(published - position, "that it did not get past", is_loss=True),
    ]
    return [part for part in parts if part.count or part.what == words]


def _lagging(nfs: list[NFReport]) -> Iterator[Balance]:
    """What NFs that skip were too slow for."""
    for nf in nfs:
        if nf.lost:
            parts = [
                Term(nf.matched, "that it read"),
                Term(nf.lost, "that it was too slow for (on_lag: skip)", is_loss=True),
            ]
            yield Balance(f"events for {nf.name}", Term(nf.matched + nf.lost, "events"), parts)


def _handled(nfs: list[NFReport]) -> Iterator[Balance]:
    for nf in nfs:
        if nf.raised:
            parts = [Term(nf.handled, "returned"), Term(nf.raised, "that raised", is_loss=True)]
            total = Term(nf.handled + nf.raised, "calls")
            yield Balance(f"handlers of {nf.name}", total, parts)


def _commands(
    running: Running, worker: WorkerCounters, counters: list[NFCounters]
) -> Iterator[Balance]:
    """What NFs said about flows, and what became of it."""
    sent = sum(nf.values["commands"] for nf in counters)
    values = worker.values
    if not sent and not values["commands_refused"]:
        return
    changes = values["module_changes"]
    parts = [
        Term(
            values["commands_obeyed"],
            f"that took effect, which changed what a flow's modules do {changes:,} times",
        ),
        Term(values["commands_late"], "that came when their flow or the input had ended"),
        Term(values["commands_refused"], "that were not sound", is_loss=True),
    ]
    if any(lane.is_lost for lane in running.all_lanes):
        taken = sum(part.count for part in parts)
        parts.append(Term(sent - taken, "that the worker had not taken when it died"))
    yield Balance("commands", Term(sent, "about flows"), parts)


def _records(nfs: list[NFReport]) -> Iterator[Balance]:
    written = sum(nf.records for nf in nfs)
    lost = sum(nf.records_lost for nf in nfs)
    parts = [Term(written, "written"), Term(lost, "lost", is_loss=True)]
    yield Balance("log lines", Term(written + lost, "made"), parts)


# --- what NFs found ---


def _top_flows(running: Running) -> list[FlowReport]:
    """From the first NF whose finish() tells of `top_flows`, as flow_log's does; where it is
    several processes, each told its own largest."""
    told = [
        (nf.planned.entry, nf.finished.summary[TOP_FLOWS])
        for lane in running.all_lanes
        for nf in lane.all_nfs
        if nf.finished and isinstance(nf.finished.summary.get(TOP_FLOWS), list)
    ]
    lists = [rows for entry, rows in told if entry == told[0][0]]
    rows = [row for rows in lists for row in rows if _flow(row)]
    if len(lists) > 1:
        rows.sort(key=_rank)
    return list(filter(None, map(_flow, rows[:FLOWS_SHOWN])))


def _rank(row: dict[str, Any]) -> tuple[int, int]:
    """Of flows of the same size the earlier one comes first."""
    number = row.get("flow_id")
    return -int(row["bytes"]), number if isinstance(number, int) else 0


def _flow(row: Any) -> FlowReport | None:
    """A row as NFs say it; one of another shape is no flow."""
    try:
        return FlowReport(
            protocol=str(row["protocol"]),
            source=str(row["source"]),
            destination=str(row["destination"]),
            packets=int(row["packets"]),
            bytes=int(row["bytes"]),
            duration=float(row["duration"]),
            reason=str(row["reason"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):  # the last: infinity as a count
        return None


def endpoint(address: Any, port: Any) -> str:
    """`10.0.0.1:80`, `[2001:db8::1]:80`, or the address alone where there is no port."""
    host = f"[{address}]" if ":" in str(address) else str(address)
    return f"{host}:{port}" if port else str(address)


def _first_alerts(file: Path, earlier: Sequence[bytes]) -> list[AlertReport]:
    """Of the alert log, as far as it can be read."""
    alerts = itertools.chain(_alerts(earlier), _alerts(_lines(file)))
    return list(itertools.islice(alerts, ALERTS_SHOWN))


def _lines(file: Path) -> Iterator[bytes]:
    with contextlib.suppress(OSError), file.open("rb") as lines:
        yield from lines


def _alerts(lines: Iterable[bytes]) -> Iterator[AlertReport]:
    for line in lines:
        if alert := _alert(line.decode(errors="replace")):
            yield alert


def _alert(line: str) -> AlertReport | None:
    """Of a line in either form (nf/record_forms.py)."""
    try:
        row = json.loads(line)
        said = row.get(ALERT, row)
        severity = int(said["severity"])
        ends = [endpoint(row[f"{end}_ip"], row.get(f"{end}_port", 0)) for end in ("src", "dest")]
        return AlertReport(
            nf=str(said["nf"]),
            signature=str(said["signature"]),
            message=str(said["message"]),
            severity=severity if said is row else eve_severity(severity),
            flow=" → ".join(ends),
            in_shadow=said.get("in_shadow") is True,
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


# --- the rest ---


def _timing(worker: WorkerCounters, nfs: list[NFCounters], seconds: float) -> Timing:
    events = worker.values["entries"] + sum(nf.values["published"] for nf in nfs)
    span = max(seconds, 1e-9)
    return Timing(round(seconds, 3), worker.values["packets"] / span, events / span)


def _warnings(report: RunReport, running: Running, ending: Ending, live_flows: int) -> list[str]:
    source = report.input
    warnings = [f"{source.file}: {source.warning}"] if source.warning else []
    warnings += [
        f"{nf.name}: {nf.records_lost:,} lines of its log are lost"
        for nf in report.nfs
        if nf.records_lost
    ]
    warnings += map(_taken_over, running.past)
    is_cut = any(lane.done is None for lane in running.lanes)
    if ending.is_stopping and is_cut and not ending.is_abrupt:
        warnings.append(
            "the worker was gone before the end: later packets were not looked at; "
            f"{live_flows:,} flows were live, whose ends NFs were not told"
        )
    return warnings


def _taken_over(lane: Lane) -> str:
    flows = lane.pages.value("flows_active")
    return (
        f"the worker died behind packet {lane.pages.last_packet:,} and another one went on: "
        f"{flows:,} flows were live, whose ends NFs were not told; each begins anew with its next "
        "packet"
    )
