"""Who of a chain's NFs must know whose shared memory."""

from __future__ import annotations

from collections.abc import Collection

from microbox.chain.plan import Plan, PlannedNF
from microbox.channel.messages import Neighbour


def neighbours(plan: Plan, nf: PlannedNF) -> list[Neighbour]:
    """Whom an NF must know: those it waits for or reads, and those who do so with it."""
    awaited = {one.index: _awaited(plan, one) for one in plan.nfs}
    return [
        Neighbour(
            index=other.index,
            shape=other.shape,
            bits=[bit.bit for bit in other.bits],
            barrier=other.index in awaited[nf.index],
            publishes=other.index in nf.reads,
            skips=other.skips,
            cut=_published_in_batches(plan, other),
            is_shadow=other.is_shadow,
        )
        for other in plan.nfs
        if other.index in awaited[nf.index] | {*nf.reads}
        or nf.index in awaited[other.index] | {*other.reads}
    ]


def _awaited(plan: Plan, nf: PlannedNF) -> set[int]:
    """Whom an NF waits for. One that takes batches also knows whom those wait for, since what
    they publish says where its batches end."""
    return _with_those_in_front(plan, nf.barrier) if nf.cut else set(nf.barrier)


def _published_in_batches(plan: Plan, nf: PlannedNF) -> int:
    """The cut of the batches at whose ends an NF publishes: its own, or that of an NF whose events
    it reads. 0: it publishes at once."""
    readable = [one for one in plan.nfs if one.index in nf.reads]
    return max([nf.cut, *(_published_in_batches(plan, one) for one in readable)])


def _with_those_in_front(plan: Plan, indexes: Collection[int]) -> set[int]:
    barriers = (one.barrier for one in plan.nfs if one.index in set(indexes))
    front = (_with_those_in_front(plan, barrier) for barrier in barriers)
    return {*indexes}.union(*front)
