"""What a run counts, as Prometheus has it: names, labels, types.

https://prometheus.io/docs/practices/naming: a counter's name ends with `_total`, and units are
seconds and bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from microbox.events.catalog import Catalog
from microbox.runtime.accounts.balances import received
from microbox.runtime.accounts.latency import BOUNDS, Histogram, Latency
from microbox.runtime.accounts.memory import used_by_part
from microbox.runtime.accounts.progress import lag
from microbox.runtime.accounts.results import DROPPED_FOR
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.machine import resident_memory
from microbox.runtime.running import Running

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """A counter of a worker or an NF, and the metric that shows it."""

    counter: str
    metric: str
    help: str


WORKER_COUNTERS = (
    Row("packets", "packets", "Packets received."),
    Row("bytes", "packet_bytes", "Captured bytes of these packets."),
    Row("packets_malformed", "malformed_packets", "Packets that break a protocol's rules."),
    Row("packets_refused", "refused_packets", "Packets dropped by the policy of a cap."),
    Row("packets_bypassed", "bypassed_packets", "Packets let out unseen by the policy of a cap."),
    Row("input_bytes", "input_bytes", "Bytes of the input file read."),
    Row("stream_bytes", "stream_bytes", "Bytes of TCP streams given out in order."),
    Row("gap_bytes", "gap_bytes", "Bytes of TCP streams that never came."),
    Row("flows_evicted", "evicted_flows", "Flows ended since the table was full."),
    Row("log_waits", "log_full", "Times the worker waited for its slowest reader."),
    Row("window_waits", "window_full", "Times the window of a live input had no room."),
    Row("window_relieved", "window_relieved", "Times it got room by giving up what waited."),
    Row("packets_late", "late_packets", "Packets that came when their time had passed."),
    Row("output_packets", "output_packets", "Packets written to the output."),
    Row("output_bytes", "output_bytes", "Bytes written to the output."),
    Row("output_lost", "output_lost_packets", "Packets that could not be written to the output."),
    Row("gate_dropped", "gate_dropped_packets", "Packets dropped by verdict."),
)
WORKER_GAUGES = (
    Row("flows_active", "flows", "Flows in the table now."),
    Row("held_bytes", "held_bytes", "Bytes of streams that wait for bytes before them."),
    Row("fragments_held_bytes", "fragment_bytes", "Bytes of fragments that wait for others."),
    Row("gate_waiting", "gate_waiting_packets", "Packets that wait for verdicts now."),
)
NF_COUNTERS = (
    Row("matched", "nf_matched_events", "Events that its handlers asked for."),
    Row("handled", "nf_handled_events", "Calls of its handlers that returned."),
    Row("raised", "nf_raised_events", "Calls of its handlers that raised."),
    Row("lost", "nf_lost_events", "Events overwritten before it read them (on_lag: skip)."),
    Row("published", "nf_published_events", "Events that it published."),
    Row("alerts", "nf_alerts", "Alerts that it raised."),
    Row("records", "nf_records", "Lines that it wrote to its log."),
)


NF_LABELS = ("nf", "stage", "worker")


class Metrics:
    """Of one run: what is shown, and what is looked at for it while packets flow."""

    def __init__(self, running: Running) -> None:
        """Looks at nothing yet."""
        self._running = running
        self._latencies: dict[Lane, Latency] = {}

    def look(self, now: float) -> None:
        """To be called some times a second."""
        for lane in self._running.lanes:
            latency = self._latencies.setdefault(lane, Latency())
            latency.look(now, lane.pages.head, _slowest_by_stage(lane))

    def families(self) -> list[Metric]:
        """All metrics, as of now."""
        lanes = self._running.lanes
        catalog = self._running.plan.catalog
        return [
            *_of_workers(lanes),
            *_of_memory(self._running),
            _of_received(lanes),
            _of_events(lanes, catalog),
            _of_reasons(lanes, catalog),
            *_of_nfs(lanes),
            _of_gates(lanes),
            _of_stages({lane: self._latencies[lane] for lane in lanes if lane in self._latencies}),
        ]


def _slowest_by_stage(lane: Lane) -> dict[int, int]:
    positions: dict[int, int] = {}
    for nf in lane.nfs:
        if nf.child.is_alive:
            position = lane.pages.passed(nf.planned.index, nf.pages.cursor)
            stage = nf.planned.stage
            positions[stage] = min(position, positions.get(stage, position))
    return positions


# --- the stack ---


def _counter(name: str, documentation: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"microbox_{name}", documentation, labels=labels)


def _gauge(name: str, documentation: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"microbox_{name}", documentation, labels=labels)


def _of_workers(lanes: Sequence[Lane]) -> Iterator[Metric]:
    labels = ["worker"]
    for make, rows in ((_counter, WORKER_COUNTERS), (_gauge, WORKER_GAUGES)):
        for row in rows:
            family = make(row.metric, row.help, labels)
            for lane in lanes:
                family.add_metric([lane.worker.name], lane.pages.value(row.counter))
            yield family
    time = _gauge("packet_time_seconds", "Time of the last packet, since the epoch.", labels)
    memory = _gauge("worker_resident_memory_bytes", "Memory of the worker's process.", labels)
    for lane in lanes:
        time.add_metric([lane.worker.name], lane.pages.value("time") / NANOSECONDS)
        memory.add_metric([lane.worker.name], resident_memory(lane.worker.process.pid))
    yield time
    yield memory


def _of_memory(running: Running) -> Iterator[Metric]:
    """The areas of all NFs are one part."""
    labels = ["part", "worker"]
    used = _gauge("memory_used_bytes", "What of the chain's limits was taken.", labels)
    limit = _gauge("memory_limit_bytes", "What the chain's limits come to in memory.", labels)
    for lane in running.lanes:
        for part, (taken, most) in used_by_part(running, lane).items():
            used.add_metric([part, lane.worker.name], taken)
            limit.add_metric([part, lane.worker.name], most)
    yield used
    yield limit
    if running.chain.memory_max is not None:
        budget = _gauge("memory_budget_bytes", "memory_max of the chain file.", [])
        budget.add_metric([], running.chain.memory_max)
        yield budget


def _of_received(lanes: Sequence[Lane]) -> Metric:
    documentation = "Packets received, by what became of them: they add up to all."
    family = _counter("received_packets", documentation, ["became", "worker"])
    for lane in lanes:
        for part in received(lane.pages.rows()).parts:
            family.add_metric([part.what, lane.worker.name], part.count)
    return family


def _of_events(lanes: Sequence[Lane], catalog: Catalog) -> Metric:
    family = _counter("events", "Events that the stack published.", ["type", "worker"])
    for lane in lanes:
        for number, count in lane.pages.published_by_type().items():
            family.add_metric([catalog.by_number(number).name, lane.worker.name], count)
    return family


def _of_reasons(lanes: Sequence[Lane], catalog: Catalog) -> Metric:
    documentation = "Drops, malformed packets, anomalies and ends of flows, by their reason."
    family = _counter("reasons", documentation, ["reason", "worker"])
    names = {reason.number: reason.name for reason in catalog.reasons}
    for lane in lanes:
        for number, count in lane.pages.by_reason().items():
            family.add_metric([names.get(number, str(number)), lane.worker.name], count)
    return family


# --- NFs ---


def _labels(lane: Lane, nf: RunningNF) -> list[str]:
    return [nf.planned.name, str(nf.planned.stage), lane.worker.name]


def _of_nfs(lanes: Sequence[Lane]) -> Iterator[Metric]:
    nfs = [(lane, nf, nf.counters()) for lane in lanes for nf in lane.nfs]
    for row in NF_COUNTERS:
        family = _counter(row.metric, row.help, NF_LABELS)
        for lane, nf, counters in nfs:
            family.add_metric(_labels(lane, nf), counters.values[row.counter])
        yield family
    verdicts = _counter("nf_verdicts", "Verdicts other than to pass.", (*NF_LABELS, "verdict"))
    for lane, nf, counters in nfs:
        for verdict, count in counters.verdicts.items():
            verdicts.add_metric([*_labels(lane, nf), verdict], count)
    yield verdicts
    for name, documentation, value in NF_GAUGES:
        gauge = _gauge(name, documentation, NF_LABELS)
        for lane, nf, _ in nfs:
            gauge.add_metric(_labels(lane, nf), value(lane, nf))
        yield gauge
    restarts = _counter("nf_restarts", "Times that another process took its place.", NF_LABELS)
    for lane, nf, _ in nfs:
        restarts.add_metric(_labels(lane, nf), nf.lives.restarts)
    yield restarts


def _memory(_: Lane, nf: RunningNF) -> int:
    return resident_memory(nf.child.process.pid) if nf.child.is_alive else 0


def _memory_limit(_: Lane, nf: RunningNF) -> int:
    return nf.planned.supervision.memory


NF_GAUGES: tuple[tuple[str, str, Callable[[Lane, RunningNF], int]], ...] = (
    ("nf_up", "1 while its process lives.", lambda _, nf: nf.child.is_alive),
    ("nf_lag_events", "Entries of the log that it has yet to pass.", lag),
    ("nf_resident_memory_bytes", "Memory of its process, shared memory included.", _memory),
    ("nf_memory_limit_bytes", "What its code may take; 0: no limit.", _memory_limit),
)


def _of_gates(lanes: Sequence[Lane]) -> Metric:
    documentation = "Packets dropped at the gate, by the NF that they were dropped for and why."
    family = _counter("nf_dropped_packets", documentation, (*NF_LABELS, "reason"))
    for lane in lanes:
        for nf in lane.nfs:
            judged = lane.pages.judge(nf.planned.index)
            for reason, counter in DROPPED_FOR.items() if nf.is_judge else ():
                family.add_metric([*_labels(lane, nf), reason], judged[counter])
    return family


# --- stages ---


def _of_stages(latencies: Mapping[Lane, Latency]) -> Metric:
    family = HistogramMetricFamily(
        "microbox_stage_latency_seconds",
        "Age of the next event that the slowest NF of the stage passes, ten samples a second.",
        labels=["stage", "worker"],
    )
    for lane, latency in latencies.items():
        for stage, histogram in latency.stages.items():
            labels = [str(stage), lane.worker.name]
            family.add_metric(labels, list(_cumulative(histogram)), histogram.total)
    return family


def _cumulative(histogram: Histogram) -> Iterator[tuple[str, float]]:
    bounds = [*map(str, BOUNDS), "+Inf"]
    yield from zip(bounds, itertools.accumulate(histogram.buckets), strict=True)
