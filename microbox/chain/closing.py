"""Whose death stops packets: NFs that fail closed, and those that such an NF could not judge
without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from microbox.chain.model import ChainNF
from microbox.chain.plan import PlannedNF
from microbox.channel.messages import Manifest


def fails_closed(nf: ChainNF, manifest: Manifest) -> bool:
    """What it misses when it is gone is dropped; of one in shadow, as soon as it is promoted."""
    return manifest.is_inline and nf.on_failure != "open"


def failing_closed(nfs: Sequence[PlannedNF], closed: Iterable[int]) -> set[int]:
    """Those whose death must stop packets where these fail closed: an NF that judges by what a
    dead publisher would have told it is blind, which is no better than its being dead itself."""
    closed = set(closed)
    for nf in reversed(nfs):
        if nf.index in closed:
            closed.update(nf.reads)
    return closed


def with_those_who_tell(nfs: Sequence[PlannedNF], would_close: Iterable[int]) -> list[PlannedNF]:
    """The gate waits for a publisher that fails closed as for an NF that judges, though it lets
    everything pass while it lives. So it does for one that is to when an NF in shadow is promoted:
    it has to have verdicts from the start."""
    closed = failing_closed(nfs, [nf.index for nf in nfs if nf.fails_closed])
    judging = failing_closed(nfs, [*closed, *would_close])
    return [
        replace(
            nf,
            fails_closed=nf.index in closed,
            shape=replace(nf.shape, is_inline=nf.shape.is_inline or nf.index in judging),
        )
        for nf in nfs
    ]
