"""From counters, last words and logs to the report of a run."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from microbox.chain.model import ChainNF
from microbox.chain.plan import PlannedNF
from microbox.events.catalog import Catalog
from microbox.nf.record_forms import ALERT, eve_severity
from microbox.runtime.accounts.balances import balances, by_name
from microbox.runtime.accounts.counters import NFCounters, WorkerCounters
from microbox.runtime.accounts.instances import by_nf, of_all_lanes, with_past
from microbox.runtime.accounts.memory import memory_now
from microbox.runtime.accounts.report import (
    AlertReport,
    FlowReport,
    GateReport,
    InputReport,
    NFReport,
    OutputReport,
    ProblemReport,
    RunReport,
    ShadowReport,
    StreamReport,
    Timing,
    WorkerReport,
)
from microbox.runtime.accounts.totals import in_sequence, sums, total
from microbox.runtime.errors import FAILED
from microbox.runtime.inputs.capture import about_input
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.outputs.log_parts import merge_parts
from microbox.runtime.running import Running, RunOptions

ALERT_LOG = "alert_log.jsonl"
ALERTS_SHOWN = 10
FLOWS_SHOWN = 10
TOP_FLOWS = "top_flows"  # in what finish() returns: shown once, for the run

FLOW_KINDS = ("tcp", "udp", "icmp", "other")
DROPPED_FOR = {
    "verdict.drop": "packets_dropped",
    "verdict.drop_flow": "packets_of_flows",
    "verdict.reset": "packets_of_resets",
    "nf.failed_closed": "unjudged_dropped",
}


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
    unmerged = merge_parts(directory, _who_wrote(running), partitions)
    lanes = {
        lane.worker.name: [_nf_report(nf, its_worker, catalog) for nf in _in_one_order(lane)]
        for lane, its_worker in zip(running.lanes, workers, strict=True)
    }
    planned = [nf.planned for nf in _in_one_order(running.lanes[0])]
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
        balances=balances(running, worker, counters, nfs),
        workers=_worker_reports(workers, lanes),
        warnings=unmerged,
        problems=problems,
        logs={nf.log: nf.records for nf in entries if nf.log},
        directory=str(directory),
        timing=_timing(worker, counters, ending.seconds),
        memory=memory_now(running),
    )
    for complaint in unmerged:
        ending.fail(complaint)
    report.warnings += _warnings(report, running, ending, worker.values["flows_active"])
    _judge(report, running, ending)
    return report


def _who_wrote(running: Running) -> list[ChainNF | PlannedNF]:
    """NFs, by name: the chain's, and those that came and left."""
    by_name: dict[str, ChainNF | PlannedNF] = {nf.name: nf for nf in running.plan.chain.nfs}
    for lane in running.all_lanes:
        for nf in lane.left:
            by_name.setdefault(nf.planned.name, nf.planned)
    return list(by_name.values())


def _in_one_order(lane: Lane) -> list[RunningNF]:
    """All lanes have the same NFs, which may have left each in another order."""
    if lane.partition.is_whole:
        return lane.all_nfs
    return sorted(lane.all_nfs, key=lambda nf: nf.planned.index)


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
        file_size=areas.file_size or values["input_bytes"],
        packets=values["packets"],
        bytes=values["bytes"],
        flows={kind: values[f"flows_{kind}"] for kind in FLOW_KINDS},
        warning=about_input(first, running.options.capture),
        stream=_stream_report(running, values) if areas.is_window else None,
    )


def _stream_report(running: Running, values: Mapping[str, int]) -> StreamReport:
    return StreamReport(
        window=running.chain.input_window,
        waits=values["window_waits"],
        relieved=values["window_relieved"],
        late=values["packets_late"],
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
        attached=nf.is_guest,
        published=sums([by_name(counters.published, catalog)]),
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


def _event_counts(
    worker: WorkerCounters, nfs: list[NFCounters], catalog: Catalog
) -> dict[str, int]:
    """By type, in the order of the catalog."""
    sources = [worker.published, *(nf.published for nf in nfs)]
    sums = {each.name: sum(one.get(each.number, 0) for one in sources) for each in catalog.types}
    return {name: count for name, count in sums.items() if count}


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
