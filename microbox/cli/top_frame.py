"""What `microbox top` shows of one moment: a run's own counters, and what its processes take of
this machine. Rates are those since the moment before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microbox.runtime.accounts.usage import Usage, usage


@dataclass(frozen=True, slots=True)
class Sample:
    """A run at one moment."""

    moment: float  # seconds
    status: dict[str, Any]  # what the run answers
    usages: dict[int, Usage]  # by process


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker: the stack."""

    name: str
    process: int
    packets: int  # received
    packets_per_second: float
    bytes_per_second: float
    events_per_second: float
    cpu: float  # of one processor; 1.0 is all of it
    memory: int  # resident bytes


@dataclass(frozen=True, slots=True)
class NFRow:
    """A process of an NF."""

    name: str
    worker: str
    process: int
    stage: int
    outcome: str
    events_per_second: float  # that its handlers ask for
    lag: int  # events of the worker's log that it has yet to pass
    cpu: float
    lost: int
    restarts: int
    memory: int  # resident bytes
    memory_taken: int | None  # of its limit; None where it has none
    memory_limit: int | None


@dataclass(frozen=True, slots=True)
class StageRow:
    """The NFs of one stage: those that read side by side."""

    stage: int
    nfs: list[str]
    events_per_second: float
    lag: int  # of the last of them
    cpu: float


@dataclass(frozen=True, slots=True)
class Frame:
    """All of it."""

    name: str
    chain: str
    input: str
    doing: str
    seconds: float  # that the rates are over
    read: float | None  # share of the input that all NFs have passed, 0 to 1; None: nobody knows
    read_bytes: int  # that these are
    packets: int  # received by all workers
    packets_per_second: float
    bytes_per_second: float
    workers: list[WorkerRow]
    stages: list[StageRow]
    nfs: list[NFRow]
    balances: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)  # used, limit, budget, parts


def sample(status: dict[str, Any]) -> Sample:
    """Of now."""
    processes = [one["process"] for one in (*status["workers"], *status["nfs"])]
    used = {process: usage(process) for process in processes}
    seen = {process: each for process, each in used.items() if each is not None}
    return Sample(time.monotonic(), status, seen)


def frame(name: str, before: Sample, now: Sample) -> Frame:
    """Of the run of this name, between two moments."""
    status = now.status
    span = _Span(before, now)
    workers = [_worker(one, span) for one in status["workers"]]
    nfs = [_nf(one, span) for one in status["nfs"]]
    size = status["file_size"]
    return Frame(
        name=name,
        chain=status["chain"],
        input=status["input"],
        doing=status["doing"],
        seconds=round(span.seconds, 3),
        read=min(1.0, status["file_read"] / size) if size else None,
        read_bytes=status["file_read"],
        packets=sum(worker.packets for worker in workers),
        packets_per_second=sum(worker.packets_per_second for worker in workers),
        bytes_per_second=sum(worker.bytes_per_second for worker in workers),
        workers=workers,
        stages=_stages(nfs),
        nfs=nfs,
        balances=status["balances"],
        memory=status["memory"],
    )


class _Span:
    """What changed between two moments, by process. One that is new begins with nothing."""

    def __init__(self, before: Sample, now: Sample) -> None:
        self.seconds = max(now.moment - before.moment, 1e-6)
        self._usages = before.usages, now.usages
        rows = (*before.status["workers"], *before.status["nfs"])
        self._before: dict[int, Mapping[str, Any]] = {row["process"]: row for row in rows}

    def rate(self, row: Mapping[str, Any], counter: str) -> float:
        """A second; 0 in the first frame that shows the process."""
        before = self._before.get(row["process"], row)
        counted: int = row[counter] - before[counter]
        return max(0, counted) / self.seconds

    def cpu(self, process: int) -> float:
        before, now = (usages.get(process) for usages in self._usages)
        return (now.seconds - before.seconds) / self.seconds if before and now else 0.0

    def memory(self, process: int) -> int:
        now = self._usages[1].get(process)
        return now.resident if now else 0

    def taken(self, process: int, allowed: int) -> int:
        now = self._usages[1].get(process)
        return now.taken(allowed) if now else 0


def _worker(row: dict[str, Any], span: _Span) -> WorkerRow:
    return WorkerRow(
        name=row["name"],
        process=row["process"],
        packets=row["received"],
        packets_per_second=span.rate(row, "received"),
        bytes_per_second=span.rate(row, "bytes"),
        events_per_second=span.rate(row, "published"),
        cpu=span.cpu(row["process"]),
        memory=span.memory(row["process"]),
    )


def _nf(row: dict[str, Any], span: _Span) -> NFRow:
    process, allowed = row["process"], row["in_force"].get("memory", 0)
    return NFRow(
        name=row["name"],
        worker=row["worker"],
        process=process,
        stage=row["stage"],
        outcome=row["outcome"],
        events_per_second=span.rate(row, "matched"),
        lag=row["lag"],
        cpu=span.cpu(process),
        lost=row["lost"],
        restarts=row["restarts"],
        memory=span.memory(process),
        memory_taken=span.taken(process, allowed) if allowed else None,
        memory_limit=allowed or None,
    )


def _stages(nfs: list[NFRow]) -> list[StageRow]:
    by_stage: dict[int, list[NFRow]] = {}
    for nf in nfs:
        by_stage.setdefault(nf.stage, []).append(nf)
    return [
        StageRow(
            stage=stage,
            nfs=list(dict.fromkeys(nf.name for nf in members)),
            events_per_second=sum(nf.events_per_second for nf in members),
            lag=max(nf.lag for nf in members),
            cpu=sum(nf.cpu for nf in members),
        )
        for stage, members in sorted(by_stage.items())
    ]
