"""NFs that come and go while packets flow: one change at a time, each at one event."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from microbox.chain.model import ChainNF
from microbox.chain.plan import Plan, PlannedNF
from microbox.chain.promotion import promoted
from microbox.chain.revision import with_changed
from microbox.channel.messages import (
    Abort,
    Attach,
    Begin,
    Derive,
    Detach,
    Message,
    Met,
    Neighbour,
    Promote,
    Stop,
    Subscribe,
)
from microbox.runtime.lane import Lane, Promotion, RunningNF
from microbox.runtime.membership.neighbours import neighbours
from microbox.runtime.membership.pause import (
    ChangeError,
    LeftOutError,
    all_paused,
    paused,
    prepared,
)
from microbox.runtime.processes.supervisor import ChildError, ChildHangs
from microbox.runtime.running import Running

Member = tuple[Lane, RunningNF]
"""One of the processes of an NF, which has one in each lane."""

MAPPING = "it maps what another NF shares"
NOBODY: Mapping[str, ChainNF] = {}


class Changes:
    """Of one run."""

    def __init__(self, running: Running, follow: Callable[[Lane, RunningNF], None]) -> None:
        """`follow` is called with each NF that has come, and its lane."""
        self._running = running
        self._follow = follow
        self._lock = asyncio.Lock()
        self.planning = asyncio.Lock()
        """Held from when the plan is extended until those who come are in it."""

    def none_under_way(self) -> AbstractAsyncContextManager[None]:
        """Until its end no change begins: what workers answer is not to be mixed up."""
        return self._lock

    async def take_place(self, lane: Lane, newcomer: RunningNF) -> int:
        """The NF takes the place of one that is dead. Returns the head of the log there.

        Raises ChangeError, ChildError: it did not come.
        """
        patience = self._running.options.patience.pause
        async with self._lock, paused(lane, patience) as head:
            plan = self._running.plan
            newcomer.planned = _planned_now(plan, newcomer)
            nfs = [one for one in lane.nfs if one.planned.index != newcomer.planned.index]
            nfs = _in_order([*nfs, newcomer])
            died = lane.pages.gone_at(newcomer.planned.index)
            newcomer.lives.missed += head - min(died, head)
            await self._let_know(plan, newcomer, nfs)
            await self._make_known(plan, [newcomer], nfs)
            await self._attach(lane, newcomer)
            await lane.worker.send(_subscriptions(plan, nfs))
        lane.nfs = nfs
        self._follow(lane, newcomer)
        with contextlib.suppress(ChildError):  # whoever follows it says how it went
            await newcomer.child.send(Begin())
        return head

    async def leave(self, members: Sequence[Member], gone: Sequence[Member] = ()) -> list[int]:
        """NFs leave, those of a lane together; they are told to finish when the chain goes on.
        `gone`: processes of the same NFs that are dead. Returns the heads of the logs there. Raises
        ChangeError, ChildError."""
        leaving = [nf for _, nf in members]
        async with self._lock, self._all_paused(members) as heads:
            for lane, nf in members:
                await self._let_leave(lane, nf)
            for lane in _lanes_of(members):
                rest = [one for one in lane.nfs if one not in leaving]
                await lane.worker.send(_subscriptions(self._running.plan, rest))
        self._are_left([*members, *gone])
        for nf in leaving:
            with contextlib.suppress(ChildError):  # whoever follows it says how it went
                await nf.child.send(Stop())
        return heads

    async def forget(self, members: Sequence[Member]) -> None:
        """One that is dead, in all lanes, has no place any more, unless somebody reads what it
        published."""
        async with self._lock:
            there = [(lane, nf) for lane, nf in members if nf in lane.nfs]
            if there and not any(lane.readers_of(nf) for lane, nf in there):
                self._are_left(there)

    def _are_left(self, members: Sequence[Member]) -> None:
        for lane, nf in members:
            lane.nfs = _without(nf, lane)
            lane.left.append(nf)
        gone = {nf.planned.index for _, nf in members}
        running = self._running
        remaining = [one for one in running.plan.nfs if one.index not in gone]
        running.plan = replace(running.plan, nfs=remaining)

    async def join(self, plan: Plan, members: Sequence[Member]) -> list[int]:
        """NFs that are new come in, as `plan` has them. Returns the heads of the logs there. Raises
        ChangeError, ChildError: all is as it was."""
        newcomers = [nf for _, nf in members]
        async with self._lock, self._all_paused(members) as heads:
            head_of = dict(zip(_lanes_of(members), heads, strict=True))
            joined = {
                lane: _in_order([*lane.nfs, *(nf for its_lane, nf in members if its_lane is lane)])
                for lane in head_of
            }
            for lane, newcomer in members:
                plan = _plan_of(plan, joined[lane], [newcomer])
            for lane, newcomer in members:
                newcomer.lives.joined = head_of[lane]
                await self._let_know(plan, newcomer, joined[lane])
            for lane, nfs in joined.items():
                await self._make_known(plan, newcomers, nfs)
                await self._let_derive(lane, plan)
            try:
                for lane, newcomer in members:
                    await self._attach(lane, newcomer)
                for lane, nfs in joined.items():
                    await lane.worker.send(_subscriptions(plan, nfs))
                await prepared(joined)
            except (ChangeError, ChildError):
                await self._abort(joined)
                raise
        for lane, nfs in joined.items():
            lane.nfs = nfs
        self._running.plan = plan
        for lane, newcomer in members:
            self._follow(lane, newcomer)
            with contextlib.suppress(ChildError):  # whoever follows it says how it went
                await newcomer.child.send(Begin(at=head_of[lane]))
        return heads

    async def _abort(self, lanes: Iterable[Lane]) -> None:
        """One worker could not do it: no other one does."""
        for lane in lanes:
            with contextlib.suppress(ChildError):  # it is gone, and nobody comes to it
                await lane.worker.send(Abort())
                await lane.worker.send(_subscriptions(self._running.plan, lane.nfs))

    async def hand_over(
        self,
        members: Sequence[Member],
        newcomers: Sequence[RunningNF],
        changed: Mapping[str, ChainNF] = NOBODY,
    ) -> list[int]:
        """New processes, one for each member, take the places of those that live: in each lane at
        one event, and not before the old ones have finished. `changed`: what the chain file says of
        them now, by name, if that is otherwise. Returns the heads of the logs there. Raises
        ChangeError, ChildError: the old ones go on; or LeftOutError."""
        pairs = list(zip(members, newcomers, strict=True))
        try:
            return await self._hand_over(pairs, changed)
        except (ChangeError, ChildError) as error:
            if not any(old.is_replaced for _, old in members):
                raise
            await self._leave_out(members)
            raise LeftOutError(str(error)) from None

    async def _leave_out(self, members: Sequence[Member]) -> None:
        """Old processes were told to finish, and the new ones could not come."""
        async with self._lock:
            for lane, old in members:
                old.is_replaced = False
                old.leaves = True
                with contextlib.suppress(ChildError):
                    await lane.worker.send(Detach(old.planned.index, 0))
                    await old.child.send(Stop())
            self._are_left(members)

    async def _hand_over(
        self, pairs: Sequence[tuple[Member, RunningNF]], changed: Mapping[str, ChainNF]
    ) -> list[int]:
        members = [member for member, _ in pairs]
        newcomers = [newcomer for _, newcomer in pairs]
        async with self._lock, self._all_paused(members) as heads:
            head_of = dict(zip(_lanes_of(members), heads, strict=True))
            plan = with_changed(self._running.plan, changed)
            new_of = {old: newcomer for (_, old), newcomer in pairs}
            renewed = {lane: [new_of.get(one, one) for one in lane.nfs] for lane in head_of}
            for (lane, old), newcomer in pairs:
                newcomer.lives.joined = head_of[lane]
                newcomer.lives.promoted = old.lives.promoted
                newcomer.planned = _planned_now(plan, newcomer)
                await self._let_know(plan, newcomer, renewed[lane])
            for nfs in renewed.values():
                await self._make_known(plan, newcomers, nfs)
            for (lane, old), newcomer in pairs:
                await self._replace(lane, old, newcomer)
            for lane, nfs in renewed.items():
                await lane.worker.send(_subscriptions(plan, nfs))
        self._running.plan = plan
        for (lane, old), newcomer in pairs:
            lane.nfs = _in_order([*_without(old, lane), newcomer])
            lane.left.append(old)
            self._follow(lane, newcomer)
            with contextlib.suppress(ChildError):  # whoever follows it says how it went
                await newcomer.child.send(Begin())
        return heads

    async def _replace(self, lane: Lane, old: RunningNF, newcomer: RunningNF) -> None:
        old.is_replaced = True
        await self._let_leave(lane, old)
        with contextlib.suppress(ChildError):
            await old.child.send(Stop())
        await old.child.exited(self._running.options.patience.stop)
        await self._attach(lane, newcomer)

    async def supervise(self, changed: Mapping[str, ChainNF]) -> None:
        """What only the controller looks at, of NFs that go on."""
        async with self._lock:
            self._running.plan = with_changed(self._running.plan, changed)
            for nf in self._running.nfs:
                if nf.planned.name in changed:
                    nf.planned = _planned_now(self._running.plan, nf)

    async def promote(self, entry: str) -> list[int]:
        """The NF, in shadow until now, judges: all its instances, in each lane from one event on.
        Returns the heads of the logs there. Raises PromotionError; ChangeError, ChildError: it
        stays in shadow, or where the worker could not do it, is ended."""
        running = self._running
        patience = running.options.patience.pause
        async with self._lock:
            plan = promoted(running.plan, entry)
            try:
                async with all_paused(running.lanes, patience) as heads:
                    for lane, head in zip(running.lanes, heads, strict=True):
                        await self._promote(lane, plan, entry, head)
                    running.plan = plan
            except ChangeError as error:
                if running.plan is plan:
                    self._end_half_promoted(entry, error)
                raise
        return heads

    def _end_half_promoted(self, entry: str, error: ChangeError) -> None:
        """Those behind it go by verdicts that come to nothing at the gate: rather by none."""
        for nf in self._running.nfs:
            if nf.planned.entry == entry and nf.child.is_alive:
                nf.complaint = f"could not be promoted and was killed: {error}"
                nf.child.kill()

    async def _promote(self, lane: Lane, plan: Plan, entry: str, head: int) -> None:
        now = {nf.index: nf for nf in plan.nfs}
        closed = [
            nf.planned.index
            for nf in lane.nfs
            if now[nf.planned.index].fails_closed and not nf.planned.fails_closed
        ]
        own = [nf for nf in lane.nfs if nf.planned.entry == entry]
        for nf in lane.nfs:
            nf.planned = now[nf.planned.index]
        for nf in own:
            nf.lives.promoted = Promotion(head, nf.counters().values["edits"])
            await self._meet_anew(lane, plan, nf)
        await lane.worker.send(Promote([nf.planned.index for nf in own], closed))
        await lane.worker.send(_subscriptions(plan, lane.nfs))

    async def _meet_anew(self, lane: Lane, plan: Plan, nf: RunningNF) -> None:
        """The NF and those that it is to know, or that are to know it."""
        areas = {one.planned.index: one.area for one in lane.nfs}
        for each in neighbours(plan, nf.planned):
            if each.index in areas:
                await self._meet(nf, each, areas[each.index])
        others = [one for one in lane.nfs if one is not nf and one.child.is_alive]
        await self._meet_by(others, plan, nf)

    async def _meet_by(self, others: Sequence[RunningNF], plan: Plan, nf: RunningNF) -> None:
        """Those of the others that are to know the NF."""
        await asyncio.gather(
            *(
                self._meet(other, each, nf.area)
                for other in others
                for each in neighbours(plan, other.planned)
                if each.index == nf.planned.index
            )
        )

    def _all_paused(self, members: Sequence[Member]) -> AbstractAsyncContextManager[list[int]]:
        return all_paused(_lanes_of(members), self._running.options.patience.pause)

    async def _let_leave(self, lane: Lane, nf: RunningNF) -> None:
        nf.leaves = True
        await lane.worker.send(Detach(nf.planned.index, 0, in_order=True))

    async def _let_know(self, plan: Plan, newcomer: RunningNF, nfs: Sequence[RunningNF]) -> None:
        """The newcomer knows its neighbours among `nfs`. Raises ChildError. All that come together
        know theirs before anybody knows of one of them, so that nobody has to forget it."""
        areas = {one.planned.index: one.area for one in nfs}
        known = [each for each in neighbours(plan, newcomer.planned) if each.index in areas]
        for each in known:
            await newcomer.child.send(each, [areas[each.index]])
        for _ in known:
            await newcomer.child.expect(Met, self._running.options.patience.meet, MAPPING)

    async def _make_known(
        self, plan: Plan, newcomers: Collection[RunningNF], nfs: Sequence[RunningNF]
    ) -> None:
        """Their neighbours among `nfs` know the newcomers, which know each other."""
        others = [one for one in nfs if one not in newcomers and one.child.is_alive]
        for newcomer in newcomers:
            if newcomer in nfs:
                await self._meet_by(others, plan, newcomer)

    async def _let_derive(self, lane: Lane, plan: Plan) -> None:
        """Publishers derive from now on what somebody new reads."""
        planned = {one.index: one for one in plan.nfs}
        for nf in lane.nfs:
            renewed = planned[nf.planned.index]
            if nf.child.is_alive and renewed.derives != nf.planned.derives:
                await self._tell(nf, Derive(renewed.derives), [])
                nf.planned = renewed

    async def _meet(self, nf: RunningNF, newcomer: Neighbour, area: int) -> None:
        await self._tell(nf, newcomer, [area])

    async def _tell(self, nf: RunningNF, message: Message, fds: Sequence[int]) -> None:
        """One that does not answer, though it has nothing else to do, is ended."""
        try:
            await nf.child.send(message, fds)
            await nf.answers.expect(Met, self._running.options.patience.meet, MAPPING)
        except ChildHangs:
            nf.complaint = "did not answer when the chain changed and was killed"
            nf.child.kill()
        except ChildError:
            pass  # it is gone: whoever follows it says how

    async def _attach(self, lane: Lane, newcomer: RunningNF) -> None:
        planned = newcomer.planned
        message = Attach(
            planned.index,
            planned.shape,
            planned.fails_closed,
            skips=planned.skips,
            is_shadow=planned.is_shadow,
            catches_up=planned.supervision.catches_up,
        )
        await lane.worker.send(message, [newcomer.area])


def _lanes_of(members: Sequence[Member]) -> list[Lane]:
    return list(dict.fromkeys(lane for lane, _ in members))


def _plan_of(plan: Plan, nfs: Sequence[RunningNF], newcomers: Sequence[RunningNF]) -> Plan:
    """The plan without those that have left since it was made. Raises ChangeError where somebody
    new reads one of them."""
    there = {nf.planned.index for nf in nfs}
    for newcomer in newcomers:
        for index in newcomer.planned.reads:
            gone = next((nf for nf in plan.nfs if nf.index == index and index not in there), None)
            if gone:
                raise ChangeError(f"{gone.name}, which it reads, has left meanwhile")
    return replace(plan, nfs=[nf for nf in plan.nfs if nf.index in there])


def _without(nf: RunningNF, lane: Lane) -> list[RunningNF]:
    return [one for one in lane.nfs if one is not nf]


def _planned_now(plan: Plan, newcomer: RunningNF) -> PlannedNF:
    """Its place, which may have changed since it was started: others were promoted."""
    return next(nf for nf in plan.nfs if nf.index == newcomer.planned.index)


def _in_order(nfs: Sequence[RunningNF]) -> list[RunningNF]:
    return sorted(nfs, key=lambda nf: nf.planned.index)


def _subscriptions(plan: Plan, nfs: Sequence[RunningNF]) -> Subscribe:
    """Of all that live, and of those whose death is to stop their packets."""
    planned = [nf.planned for nf in nfs if nf.child.is_alive or nf.planned.fails_closed]
    return replace(plan, nfs=planned).subscribe()
