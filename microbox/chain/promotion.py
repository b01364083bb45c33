"""From the plan in which an NF is in shadow to the one in which it judges, while the chain runs.

All that others need for it is there from the start: their bits, the shapes of their areas. What
changes is who waits for it, what its drops switch off, and who fails closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from microbox.chain.closing import failing_closed, fails_closed
from microbox.chain.model import ChainNF
from microbox.chain.plan import Plan, PlannedNF
from microbox.chain.subscriptions import Reader


class PromotionError(Exception):
    """The NF cannot be promoted in this chain; says why in a sentence."""


def promoted(plan: Plan, entry: str) -> Plan:
    """The plan when that NF, with all its instances, is in shadow no more. Raises
    PromotionError."""
    own = {nf.index for nf in plan.nfs if nf.entry == entry}
    for nf in plan.nfs:
        if nf.index in own:
            _check(plan, nf)
    chain = {nf.name: nf for nf in plan.chain.nfs}
    nfs: list[PlannedNF] = []
    for nf in plan.nfs:
        one = _waiting(nf, own, nfs, chain[nf.name])
        if nf.index in own:
            closes = fails_closed(chain[nf.name], nf.manifest)
            one = replace(one, is_shadow=False, fails_closed=closes)
        nfs.append(one)
    closed = failing_closed(nfs, [nf.index for nf in nfs if nf.fails_closed])
    return replace(plan, nfs=[replace(nf, fails_closed=nf.index in closed) for nf in nfs])


def _check(plan: Plan, nf: PlannedNF) -> None:
    """What is said in shadow reaches fewer. Who is to get more has to get it from the start."""
    if not nf.is_shadow:
        why = "its verdicts count" if nf.manifest.is_inline else "it never drops a packet"
        raise PromotionError(f"is not in shadow: {why}")
    for one in plan.nfs:
        if one.is_shadow and one.index in nf.reads and one.entry != nf.entry:
            raise PromotionError(
                f"reads what {one.entry} publishes, which is in shadow; promote {one.entry} first"
            )
    publishes = _reader(plan, nf).publishes
    for later in plan.nfs:
        if later.index <= nf.index or nf.index in later.reads or later.entry == nf.entry:
            continue
        reader = _reader(plan, later)
        unheard = {one for wish in reader.wishes for one in reader.from_nfs(wish, publishes)}
        if unheard:
            names = ", ".join(sorted(one.name.removeprefix("flow.") for one in unheard))
            raise PromotionError(
                f"publishes {names}, which {later.entry} reads but does not get while it is in "
                "shadow; take `shadow` out of the chain file and run the chain anew"
            )


def _reader(plan: Plan, nf: PlannedNF) -> Reader:
    reader = Reader(nf.manifest, plan.catalog)
    reader.publishes |= {plan.catalog.by_number(one.type) for one in nf.derives}
    return reader


def _waiting(
    nf: PlannedNF, promoted: set[int], front: Sequence[PlannedNF], said: ChainNF
) -> PlannedNF:
    """The NF, waiting for the promoted ones that it would wait for. `front`: who stands in front of
    it, as they wait now. Who takes batches, or says `after`, also waits for those whom they wait
    for."""
    because = dict(nf.barrier_because)
    for index, reason in nf.would_wait.items():
        if index in promoted:
            because[index] = reason
    for earlier in reversed(front):
        if earlier.index in because and (nf.cut or said.after is not None):
            for one in earlier.barrier:
                because.setdefault(one, f"{earlier.name} waits for it")
    return replace(
        nf,
        barrier=sorted(because),
        barrier_because=because,
        would_wait={one: why for one, why in nf.would_wait.items() if one not in promoted},
        stage=1 + max((one.stage for one in front if one.index in because), default=-1),
    )
