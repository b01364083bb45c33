"""NFs that come and go while packets flow: one change at a time, each at one event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from microbox.chain.plan import Plan
from microbox.channel.messages import Attach, Met, Neighbour, Subscribe
from microbox.runtime.neighbours import neighbours
from microbox.runtime.pause import paused
from microbox.runtime.running import Running, RunningNF
from microbox.runtime.supervisor import ChildError, ChildHangs

MAPPING = "it maps what another NF shares"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An NF that is ready to take its place."""

    nf: RunningNF
    catches_up: bool = False  # is told of the flows that there are


class Changes:
    """Of one run."""

    def __init__(self, running: Running, follow: Callable[[RunningNF], None]) -> None:
        """`follow` is called with each NF that has come."""
        self._running = running
        self._follow = follow
        self._lock = asyncio.Lock()

    async def take_place(self, arrival: Arrival) -> int:
        """The NF takes the place of one that is dead. Returns the head of the log there.

        Raises ChangeError, ChildError: it did not come.
        """
        running = self._running
        async with self._lock, paused(running) as head:
            nfs = [one for one in running.nfs if one.planned.index != arrival.nf.planned.index]
            nfs = _in_order([*nfs, arrival.nf])
            died = running.pages.gone_at(arrival.nf.planned.index)
            arrival.nf.lives.missed += head - min(died, head)
            await self._introduce(running.plan, arrival.nf, nfs)
            await self._attach(arrival)
            await running.worker.send(_subscriptions(running.plan, nfs))
        running.nfs = nfs
        self._follow(arrival.nf)
        return head

    async def _introduce(self, plan: Plan, newcomer: RunningNF, nfs: Sequence[RunningNF]) -> None:
        """It first: if that fails, nobody else knows of it."""
        areas = {one.planned.index: one.area for one in nfs}
        index = newcomer.planned.index
        known = [each for each in neighbours(plan, newcomer.planned) if each.index in areas]
        for each in known:
            await newcomer.child.send(each, [areas[each.index]])
        for _ in known:
            await newcomer.child.expect(Met, self._running.options.patience.meet, MAPPING)
        others = [one for one in nfs if one is not newcomer and one.child.is_alive]
        await asyncio.gather(
            *(
                self._meet(other, each, newcomer.area)
                for other in others
                for each in neighbours(plan, other.planned)
                if each.index == index
            )
        )

    async def _meet(self, nf: RunningNF, newcomer: Neighbour, area: int) -> None:
        """One that does not answer, though it has nothing else to do, is ended."""
        try:
            await nf.child.send(newcomer, [area])
            await nf.answers.expect(Met, self._running.options.patience.meet, MAPPING)
        except ChildHangs:
            nf.complaint = "did not answer when another NF came and was killed"
            nf.child.kill()
        except ChildError:
            pass  # it is gone: whoever follows it says how

    async def _attach(self, arrival: Arrival) -> None:
        nf = arrival.nf
        message = Attach(
            nf.planned.index,
            nf.planned.shape,
            nf.planned.fails_closed,
            skips=nf.planned.skips,
            catches_up=arrival.catches_up,
        )
        await self._running.worker.send(message, [nf.area])


def _in_order(nfs: Sequence[RunningNF]) -> list[RunningNF]:
    return sorted(nfs, key=lambda nf: nf.planned.index)


def _subscriptions(plan: Plan, nfs: Sequence[RunningNF]) -> Subscribe:
    """Of all that live, and of those whose death is to stop their packets."""
    planned = [nf.planned for nf in nfs if nf.child.is_alive or nf.planned.fails_closed]
    return replace(plan, nfs=planned).subscribe()
