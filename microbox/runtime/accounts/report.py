"""What a run did, as plain data: the summary on the terminal, `--json` and `summary.json`.

Everything but `timing`, `memory`, `directory` and `workers` follows from capture and chain alone,
so that two replays leave the same `summary.json`, whatever the number of workers.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Term:
    """A count in an equation. `is_loss`: these are not where they should be."""

    count: int
    what: str
    is_loss: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """`total` is the sum of `parts`, or something is wrong."""

    name: str
    total: Term
    parts: list[Term]

    @property
    def difference(self) -> int:
        """What is unaccounted for; 0 where it adds up."""
        return self.total.count - sum(part.count for part in self.parts)

    @property
    def lost(self) -> int:
        """How many did not get where they should be, the unaccounted ones included."""
        losses = sum(part.count for part in self.parts if part.is_loss)
        return losses + abs(self.difference)


@dataclass(frozen=True, slots=True)
class StreamReport:
    """How a capture came that was read as it came."""

    window: int  # bytes that it was read into
    waits: int  # times that the window was full
    relieved: int  # times that all that waited for bytes before it was given up, to make room
    late: int  # packets whose time had passed when they came


@dataclass(frozen=True, slots=True)
class InputReport:
    """The capture."""

    file: str
    format: str  # "pcap", "pcapng", ...
    file_size: int  # bytes
    packets: int
    bytes: int  # captured bytes of these packets
    flows: dict[str, int] = field(default_factory=dict)  # "tcp", "udp", "icmp", "other"
    warning: str = ""  # it ends inside a packet, ...
    stream: StreamReport | None = None  # None: it was mapped


@dataclass(frozen=True, slots=True)
class OutputReport:
    """The capture of what passed all inline NFs."""

    file: str
    packets: int
    bytes: int
    lost: int  # could not be written


@dataclass(frozen=True, slots=True)
class GateReport:
    """What one inline NF's verdicts did. A packet that several NFs judged counts for the strongest
    verdict; of equal ones, for the first NF's."""

    packets: dict[str, int]  # dropped, by reason
    flows_dropped: int
    flows_reset: int
    passed_unjudged: int  # packets that passed since the NF was gone
    edits: int = 0  # of single packets, applied
    edits_refused: int = 0

    @property
    def dropped(self) -> int:
        """Packets that did not leave for this NF's sake."""
        return sum(self.packets.values())

    @property
    def edits_in_words(self) -> str:
        """What became of its edits of packets; "" where it left none."""
        words = [
            f"{count:,} {what}"
            for count, what in (
                (self.edits, "packets edited"),
                (self.edits_refused, "edits refused"),
            )
            if count
        ]
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What the verdicts of one NF would have done while it was in shadow, had it alone had a say on
    what it saw."""

    packets: dict[str, int]  # that it would have dropped, by reason
    flows: int  # that these are of
    flows_dropped: int  # by a verdict on the flow
    flows_reset: int
    dropped_already: int  # of these packets: they did not leave without it either
    rewrites: int  # of flows
    edits: int  # packets that it left edits of
    passed_unjudged: int  # packets since the NF was gone
    promoted: int | None  # the event at which it left the shadow; None: it did not

    @property
    def dropped(self) -> int:
        """Packets that would not have left for this NF's sake."""
        return sum(self.packets.values())

    @property
    def in_words(self) -> str:
        """As `would have dropped 12 packets of 3 flows`, and how, and what of it is no news."""
        words = f"would have dropped {_counted(self.dropped, 'packet')}"
        words += f" of {_counted(self.flows, 'flow')}" if self.flows else ""
        if self.packets:
            by_reason = (f"{reason} {count:,}" for reason, count in self.packets.items())
            words += f" ({', '.join(by_reason)})"
        if self.flows_reset:
            words += f", reset {_counted(self.flows_reset, 'flow')}"
        if self.rewrites:
            words += f", rewritten flows {self.rewrites:,} times"
        if self.edits:
            words += f", edited {_counted(self.edits, 'packet')}"
        if self.dropped_already:
            words += f"; {self.dropped_already:,} of these packets were dropped anyway"
        if self.passed_unjudged:
            words += f"; {_counted(self.passed_unjudged, 'packet')} came when it was gone"
        if self.promoted is not None:
            words += f"; it was promoted at event {self.promoted:,}"
        return words


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class NFReport:
    """What one NF saw and reported."""

    name: str
    source: str
    added_because: str  # "" where the chain file names it
    outcome: str  # "finished", "left", "was killed by SIGKILL", ...
    restarts: int  # times that a process of its died and another one took its place
    matched: int  # events that its handlers asked for
    handled: int  # calls of its handlers that returned; a batch counts as its events
    raised: int  # handler calls that raised
    lost: int  # events that were overwritten before it read them (on_lag: skip)
    published: dict[str, int]  # by type
    alerts: int
    verdicts: dict[str, int]  # "drop", "drop_flow", "pass_flow", "reset"; passing is not counted
    gate: GateReport | None  # of an inline NF
    shadow: ShadowReport | None  # of one that is in shadow, or was
    records: int
    records_lost: int
    log: str  # its log file's name in the log directory; "" for none
    summary: dict[str, Any]  # what its finish() returned
    instances: list[NFReport] = field(default_factory=list)  # processes that share out its flows;
    # [] where it is one
    attached: bool = False  # it came from a terminal while the chain ran

    @property
    def is_well(self) -> bool:
        """True where it ended as it should."""
        return self.outcome in ("finished", "left")


@dataclass(frozen=True, slots=True)
class FlowReport:
    """One of the largest flows."""

    protocol: str
    source: str  # "10.0.0.1:1234", "[2001:db8::1]:53"
    destination: str
    packets: int
    bytes: int
    duration: float  # seconds
    reason: str  # why it ended


@dataclass(frozen=True, slots=True)
class AlertReport:
    """One alert."""

    nf: str
    signature: str
    message: str
    severity: int  # 1 information to 4 critical
    flow: str
    in_shadow: bool = False  # the NF was in shadow


@dataclass(frozen=True, slots=True)
class ProblemReport:
    """Something that went wrong in a child, as it told it."""

    nf: str
    severity: str  # "warning", "error"
    error: str
    handler: str = ""
    event: str = ""
    traceback: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What one of several workers did, and the NFs' processes that read its log."""

    name: str
    packets: int
    events: int
    nfs: list[NFReport]


@dataclass(frozen=True, slots=True)
class PartUse:
    """What was taken of one part of a chain's memory, by all workers together, in bytes."""

    part: str  # as in `microbox check --json`
    nf: str | None  # whose area it is
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Of a chain, in bytes. What NFs take for themselves is not in it."""

    used: int
    limit: int  # the sum of all parts' limits
    budget: int | None  # memory_max
    parts: list[PartUse]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long it took on this machine. Seconds of wall-clock time."""

    seconds: float
    packets_per_second: float
    events_per_second: float


@dataclass(slots=True)
class RunReport:
    """A run. `status` is the exit status of `microbox run`."""

    status: int
    ended: str  # "finished", "interrupted", "failed"
    error: str  # why it failed, "" otherwise
    chain: str
    input: InputReport
    output: OutputReport | None
    nfs: list[NFReport]
    events: dict[str, int]  # by full name of the type, the stack's and the NFs'
    reasons: dict[str, int]  # drops, malformed packets, anomalies, ends of flows; by name
    alerts: int
    first_alerts: list[AlertReport]
    top_flows: list[FlowReport]
    balances: list[Balance]
    warnings: list[str]
    problems: list[ProblemReport]
    logs: dict[str, int]  # lines by file name
    caps_met: dict[str, dict[str, int]] = field(default_factory=dict)  # times, by cap and policy
    workers: list[WorkerReport] = field(default_factory=list)  # [] where there is one
    directory: str = ""
    timing: Timing | None = None
    memory: MemoryUse | None = None
    version: int = REPORT_VERSION

    @property
    def lost(self) -> int:
        """Everything that is not where it should be; 0 when all is well."""
        return sum(balance.lost for balance in self.balances)

    def to_json(self) -> str:
        """The whole report as one JSON document."""
        return _json({**dataclasses.asdict(self), "lost": self.lost})

    def to_summary_json(self) -> str:
        """What is kept beside the logs: without what differs from replay to replay."""
        report = dataclasses.asdict(self)
        for varying in ("timing", "directory", "workers", "memory"):
            del report[varying]
        for nf in report["nfs"]:
            for one in (nf, *nf["instances"]):
                one["summary"] = _by_name(one["summary"])
        return _json({**report, "lost": self.lost})


def _by_name(value: Any) -> Any:
    """Mappings in the order of their names: which process said something first does not show."""
    if isinstance(value, list):
        return [_by_name(one) for one in value]
    if isinstance(value, dict):
        return {name: _by_name(value[name]) for name in sorted(value)}
    return value


def _json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def event_counts(report: RunReport) -> dict[str, int]:
    """Counts by type with each abstract or concrete ancestor's sum, for the tree."""
    sums: dict[str, int] = {}
    for name, count in report.events.items():
        labels = name.split(".")
        for end in range(1, len(labels) + 1):
            ancestor = ".".join(labels[:end])
            sums[ancestor] = sums.get(ancestor, 0) + count
    return sums
