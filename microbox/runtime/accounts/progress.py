"""How far a run is, and who holds it up: read from the pages of all."""

from __future__ import annotations

import dataclasses
from typing import Any

from microbox.runtime.accounts.balances import received
from microbox.runtime.accounts.results import shadow_report
from microbox.runtime.accounts.totals import sums
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.observer import Reading
from microbox.runtime.processes.confinement import in_force
from microbox.runtime.processes.supervisor import Child
from microbox.runtime.running import Running

NF_COUNTERS = ("matched", "handled", "alerts", "lost")


def reading(running: Running, doing: str) -> Reading:
    """What the slowest NF has passed: the stack may be a whole log ahead of it."""
    lanes = [_lane_reading(lane, doing) for lane in running.lanes]
    return Reading(
        doing=doing,
        packets=sum(one.packets for one in lanes),
        events=sum(one.events for one in lanes),
        file_read=min(one.file_read for one in lanes),
        file_size=lanes[0].file_size,
    )


def _lane_reading(lane: Lane, doing: str) -> Reading:
    pages = lane.pages
    head = pages.head
    slowest = min((position for _, position in _positions(lane)), default=head)
    share = slowest / head if head else 1.0
    published = sum(nf.pages.value("published") for nf in lane.nfs)
    return Reading(
        doing=doing,
        packets=pages.packets_before + int(pages.value("packets") * share),
        events=slowest + published,
        file_read=int(pages.value("input_bytes") * share),
        file_size=lane.areas.file_size,
    )


def _positions(lane: Lane) -> list[tuple[RunningNF, int]]:
    """Where each NF that lives stands in the worker's log."""
    return [
        (nf, lane.pages.passed(nf.planned.index, nf.pages.cursor))
        for nf in lane.nfs
        if nf.child.is_alive
    ]


def worker_status(lane: Lane) -> dict[str, Any]:
    """What `microbox ps` shows of a worker and what it does."""
    one = _lane_reading(lane, "")
    rows = lane.pages.rows()
    return {
        "name": lane.worker.name,
        "process": lane.worker.process.pid,
        "packets": one.packets,
        "events": one.events,
        "file_read": one.file_read,
        "received": rows["packets"],
        "bytes": rows["bytes"],
        "published": rows["entries"],
    }


def balances_now(running: Running) -> list[dict[str, Any]]:
    """What adds up while packets flow: what became of those that were received."""
    rows = sums(lane.pages.rows() for lane in running.all_lanes)
    return [dataclasses.asdict(received(rows))]


def nf_status(lane: Lane, nf: RunningNF) -> dict[str, Any]:
    """What `microbox ps` shows of an NF's process."""
    shadow = shadow_report(nf, lane.pages.shadow(nf.planned.index))
    return {
        "name": nf.planned.name,
        "worker": lane.worker.name,
        "process": nf.child.process.pid,
        "outcome": nf.outcome,
        "restarts": nf.lives.restarts,
        "shadow": dataclasses.asdict(shadow) if shadow else None,
        "attached": nf.is_guest,
        "in_force": in_force(nf.child.process.pid, nf.confined, nf.planned.supervision.memory),
        "stage": nf.planned.stage,
        "lag": lag(lane, nf),
        **{counter: nf.pages.value(counter) for counter in NF_COUNTERS},
    }


def lag(lane: Lane, nf: RunningNF) -> int:
    """Events of the worker's log that it has yet to pass. Of one that is gone: none any more."""
    if not nf.child.is_alive:
        return 0
    return max(0, lane.pages.head - lane.pages.passed(nf.planned.index, nf.pages.cursor))


def signature(lane: Lane) -> tuple[int, ...]:
    """Numbers of which one changes whenever anybody gets anywhere."""
    nfs = [number for nf in lane.nfs for number in (*nf.progress, nf.child.is_alive)]
    return (lane.pages.packets_passed, lane.pages.head, lane.worker.is_alive, *nfs)


def held_up_by(lane: Lane) -> list[RunningNF | Child]:
    """Whom all others wait for: the first NF of those that are furthest back.

    Where all have read everything: the worker, or those that have not finished.
    """
    positions = _positions(lane)
    last, position = min(positions, key=lambda each: each[1], default=(None, 0))
    if last is not None and position < lane.pages.head:
        return [last]
    if lane.worker.is_alive:
        return [lane.worker]
    return [nf for nf, _ in positions]


def names(stuck: list[RunningNF | Child]) -> str:
    """For people."""
    return ", ".join(each.name for each in stuck) or "nobody"
