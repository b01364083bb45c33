"""What has to add up: each packet, event, call, command and line that there was is somewhere.

Both sides come from counters of processes that do not trust each other, or are counted apart from
each other; what they leave unexplained is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from microbox.events.catalog import Catalog
from microbox.runtime.accounts.counters import NFCounters, WorkerCounters
from microbox.runtime.accounts.report import Balance, NFReport, Term
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.running import Running

PACKET_KINDS = {
    "tcp": "TCP",
    "udp": "UDP",
    "icmp": "ICMP",
    "other": "other",
    "malformed": "malformed",
}
EVENT_KINDS = ("packet", "flow.tcp", "flow.udp", "flow.icmp", "flow", "timer", "system")


def balances(
    running: Running,
    worker: WorkerCounters,
    counters: list[NFCounters],
    nfs: list[NFReport],
) -> list[Balance]:
    """Of a run that has ended. `worker`: what all workers counted, `counters`: likewise each NF."""
    return [
        received(worker.values, worker.packets_unsorted),
        _packets(worker),
        *_output(running, worker),
        _entries(worker, running.plan.catalog),
        *_passed(running, worker),
        *lagging(nfs),
        *_handled(nfs),
        *_commands(running, worker, counters),
        *_records(nfs),
    ]


def received(values: Mapping[str, int], unsorted: int = 0) -> Balance:
    """What became of each packet that came, as rows of counters.def say it. A capture's packets are
    all read: there is no kernel and no pool of buffers in front that could drop one.

    `unsorted`: packets that a worker that died had not counted by kind.
    """
    refused, bypassed = values["packets_refused"], values["packets_bypassed"]
    sorted_by_kind = sum(values[f"packets_{kind}"] for kind in PACKET_KINDS)
    parts = [
        Term(sorted_by_kind - refused - bypassed, "processed"),
        Term(refused, "dropped at a cap", is_loss=True),
        *([Term(bypassed, "let out unseen at a cap", is_loss=True)] if bypassed else []),
        *_handled_last(unsorted),
    ]
    return Balance("received", Term(values["packets"], "packets"), parts)


def _handled_last(packets: int) -> list[Term]:
    return [Term(packets, "handled last, when the worker died")] if packets else []


def _packets(worker: WorkerCounters) -> Balance:
    values = worker.values
    parts = [Term(values[f"packets_{kind}"], words) for kind, words in PACKET_KINDS.items()]
    parts += _handled_last(worker.packets_unsorted)
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
    for name, count in by_name(worker.published, catalog).items():
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


def lagging(nfs: list[NFReport]) -> Iterator[Balance]:
    """What NFs that skip were too slow for. The run has lost nothing where it is one that somebody
    looks on with."""
    for nf in nfs:
        if nf.lost:
            parts = [
                Term(nf.matched, "that it read"),
                Term(nf.lost, "that it was too slow for (on_lag: skip)", is_loss=not nf.attached),
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


def by_name(counts: dict[int, int], catalog: Catalog) -> dict[str, int]:
    """Only an NF that broke its own page counts types that there are not."""
    return {
        catalog.types[number].name: count
        for number, count in counts.items()
        if number < len(catalog.types)
    }
