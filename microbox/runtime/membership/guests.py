"""NFs that come from users' terminals (`microbox attach`): from the connection to their place in
the chain, and out of it again.

A guest is not the chain's: its own failing, or its being killed, ends it and nothing else. NFs that
it needs (a parser, a log of its alerts) come with it and leave with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from microbox.chain.errors import ChainErrors
from microbox.chain.extension import Extension
from microbox.chain.model import ChainNF, instance_name
from microbox.chain.plan import Plan
from microbox.chain.supervision import Supervision
from microbox.channel.async_channel import AsyncChannel
from microbox.channel.messages import Join, Manifest, Refused, Sandbox
from microbox.runtime.control.control_socket import ControlError
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.membership.by_hand import ByHand, at_events, dispensable
from microbox.runtime.membership.changes import Changes, Member
from microbox.runtime.membership.pause import ChangeError, InputOverError
from microbox.runtime.membership.replicas import Gathering, Replicas
from microbox.runtime.nf_start import NFStarter, is_same_in_chain
from microbox.runtime.observer import Observer, Speaker
from microbox.runtime.processes.foreign_process import ForeignProcess, Peer, PeerError, pidfd_of
from microbox.runtime.processes.supervisor import (
    Child,
    ChildBreaksProtocol,
    ChildError,
    ChildFailed,
)
from microbox.runtime.processes.validation import from_child
from microbox.runtime.running import Running
from microbox.runtime.side_by_side import all_of, reraised

JOIN_PATIENCE = 5.0  # seconds from the connection to the first message


@dataclass(frozen=True, slots=True)
class Loaded:
    """An NF's process, which has said what it is."""

    child: Child
    manifest: Manifest


class Guests:
    """Of one run."""

    def __init__(
        self,
        running: Running,
        starter: NFStarter,
        changes: Changes,
        by_hand: ByHand,
        observer: Observer,
    ) -> None:
        """Waits for nobody yet."""
        self._running = running
        self._starter = starter
        self._changes = changes
        self._by_hand = by_hand
        self._observer = observer
        self._gathering = Gathering(running.chain.workers)
        self._leaving: set[asyncio.Task[None]] = set()
        self._departing: dict[int, list[RunningNF]] = {}  # by index: whose processes asked for it
        self._forgetting: set[int] = set()  # indexes

    # --- who comes ---

    async def welcome(self, connected: socket.socket, peer: Peer) -> None:
        """Attaches whoever is at the other end, or says why not."""
        try:
            pidfd = pidfd_of(connected, peer)
        except PeerError:
            connected.close()
            return
        child = self._starter.take_in(
            f"process {peer.process}",
            ForeignProcess(peer.process, pidfd),
            AsyncChannel(connected, from_child),
            pidfd,
        )
        is_spokesman = True
        try:
            join, _ = await child.expect(Join, JOIN_PATIENCE, "saying which NF it is")
            nf = _chain_nf(join)
            partition = self._lane_of(join).partition
            child.name = partition.name_of(nf.name)
            child.speaker = Speaker(nf.name, partition.worker)
            replicas = self._gathering.put(child, join)
            await self._gathering.complete(replicas, JOIN_PATIENCE)
            is_spokesman = replicas.has_spokesman(child)
            await replicas.do_once(partial(self._attach, nf))
        except (ChainErrors, ChangeError, ChildError, OSError) as error:
            if is_spokesman:
                self._observer.note(
                    f"{child.name} is not attached: {_in_short(error)}", child.speaker
                )
            if not _has_said_so(child, error):
                await self._refuse(child, str(error))
            await self._part_from(child)
        except asyncio.CancelledError:
            await self._refuse(child, "the run ends")
            await self._part_from(child)
            raise

    def _lane_of(self, join: Join) -> Lane:
        """Whose log it is to read; any, where there is none such."""
        lanes = self._running.lanes
        return lanes[join.worker] if 0 <= join.worker < len(lanes) else lanes[0]

    async def _attach(self, nf: ChainNF, replicas: Replicas) -> None:
        self._extension(nf)  # a name that is taken is refused at once
        chain, base = self._running.chain, Path(replicas.join.base)
        lanes = self._running.lanes
        manifests = await all_of(
            self._starter.describe(child, chain, nf, lane.partition, base)
            for lane, child in zip(lanes, replicas.children, strict=True)
        )
        guests = list(map(Loaded, replicas.children, manifests))
        _check_alike(guests)
        async with self._changes.planning:
            members = await self._join(self._extension(nf), guests)
        names = dict.fromkeys(one.planned.name for _, one in members if one.planned.name != nf.name)
        heads = {lane: one.lives.joined for lane, one in members}
        self._observer.note(
            f"{nf.name} is attached{', with ' if names else ''}{', '.join(names)}, "
            f"from {at_events([*heads.values()])} on",
            Speaker(nf.name),
        )

    def _extension(self, nf: ChainNF) -> Extension:
        """Raises ChainErrors."""
        left = [one.planned for one in self._running.lanes[0].left]
        return Extension(self._running.plan, left, nf)

    async def _join(self, extension: Extension, guests: Sequence[Loaded]) -> list[Member]:
        """The guest and what it needs, in their places in each lane; or all is as it was."""
        parties = [[guest] for guest in guests]
        ready: list[list[RunningNF]] = [[] for _ in parties]
        lanes = self._running.lanes
        try:
            while addition := extension.next_addition([one.manifest for one in parties[0]]):
                companions = await self._in_each_lane(addition.nf)
                place = extension.insert(addition)
                for party, companion in zip(parties, companions, strict=True):
                    party.insert(place, companion)
            plan = await asyncio.to_thread(extension.plan, [one.manifest for one in parties[0]])
            await all_of(map(partial(self._make_ready, plan), lanes, parties, ready))
            for newcomers, guest in zip(ready, guests, strict=True):
                _know_each_other(newcomers, guest.child)
            members = [(lane, one) for lane, nfs in zip(lanes, ready, strict=True) for one in nfs]
            await self._changes.join(plan, members)
        except BaseException:
            for newcomer in itertools.chain(*ready):
                newcomer.close()
            own = [guest.child for guest in guests]
            brought = [one.child for party in parties for one in party if one.child not in own]
            await asyncio.gather(*map(self._starter.dismiss, brought))
            raise
        return members

    async def _in_each_lane(self, nf: ChainNF) -> list[Loaded]:
        """A process of an NF of the chain for each lane; or none. Raises ChildError."""
        chain = self._running.chain
        results = await asyncio.gather(
            *(self._starter.load(chain, nf, lane.partition) for lane in self._running.lanes),
            return_exceptions=True,
        )
        loaded = [Loaded(*one) for one in results if not isinstance(one, BaseException)]
        if len(loaded) < len(results):
            await asyncio.gather(*(self._starter.dismiss(one.child) for one in loaded))
        for result in results:
            reraised(result)
        return loaded

    async def _make_ready(
        self, plan: Plan, lane: Lane, party: Sequence[Loaded], ready: list[RunningNF]
    ) -> None:
        """All that come to the lane are put into `ready`."""
        for planned, one in zip(plan.nfs[-len(party) :], party, strict=True):
            ready.append(await self._starter.make_ready(lane, plan, planned, one.child))

    # --- who does not, or no more ---

    async def _refuse(self, child: Child, error: str) -> None:
        with contextlib.suppress(ChildError):
            await child.send(Refused(error))

    async def _part_from(self, child: Child) -> None:
        """From one that is not attached: it ends by itself, or it is ended."""
        child.channel.stop_sending()
        await child.exited()
        await self._starter.dismiss(child)

    def let_leave(self, nf: RunningNF) -> None:
        """It has asked for it, as each of its processes may: they leave together."""
        if nf.leaves:
            return
        asked = self._departing.setdefault(nf.planned.index, [])
        asked.append(nf)
        if len(asked) == 1:
            self._in_background(self._leave(nf))

    async def _leave(self, nf: RunningNF) -> None:
        refusal = ""
        try:
            await self._by_hand.detach(nf.planned.name)
        except ControlError as error:
            refusal = str(error)
        asked = self._departing.pop(nf.planned.index)
        if refusal:
            await asyncio.gather(*(self._refuse(one.child, refusal) for one in asked))

    def has_finished(self, nf: RunningNF) -> None:
        """It has said its last word: a user's process is his, who may look at what it prints for as
        long as he likes."""
        process = nf.child.process
        if isinstance(process, ForeignProcess):
            process.let_go()

    def is_gone(self, lane: Lane, nf: RunningNF) -> None:
        """Its process has ended without a word of farewell."""
        self._in_background(self._forget(lane, nf))

    async def _forget(self, lane: Lane, nf: RunningNF) -> None:
        """Where one of its processes is gone, the others leave: what they see is not all that it
        was to see."""
        index = nf.planned.index
        if index in self._forgetting:
            return
        if nf not in lane.nfs:  # it was leaving
            await self.settle(lane, nf)
            return
        replicas = self._processes_of(index)
        living = [(lane, one) for lane, one in replicas if one.child.is_alive]
        if living and nf.planned.fails_closed:  # none leaves in order: their packets are to stop
            _end(living, nf)
            return
        self._forgetting.add(index)
        try:
            await self._forget_all(replicas, living, nf)
        finally:
            self._forgetting.remove(index)

    async def _forget_all(
        self, replicas: Sequence[Member], living: Sequence[Member], first: RunningNF
    ) -> None:
        brought = [(lane, one) for lane, nf in replicas for one in dispensable(lane, nf)]
        gone = [member for member in replicas if member not in living]
        try:
            if living or brought:
                await self._changes.leave([*living, *brought], gone)
        except InputOverError:
            pass  # those that live finish by themselves
        except (ChangeError, ChildError):
            _end(living, first)
        if all(not one.child.is_alive or one.leaves for _, one in replicas):
            await self._changes.forget(replicas)
        while unsettled := [member for member in replicas if _is_to_be_settled(*member)]:
            await self.settle(*unsettled[0])

    def _processes_of(self, index: int) -> list[Member]:
        """Of a guest, in all lanes."""
        return [
            (lane, one)
            for lane in self._running.lanes
            for one in lane.nfs
            if one.planned.index == index and one.is_guest
        ]

    async def settle(self, lane: Lane, nf: RunningNF) -> None:
        """Its process is gone: of one that has left, nothing stays but what it counted. So guests
        may come and go as often as they like."""
        if nf in lane.left:
            await self._starter.dismiss(nf.child)
            nf.settle()

    def _in_background(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(doing)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def stop(self) -> None:
        """The run is over."""
        await asyncio.gather(*self._leaving, return_exceptions=True)


def _know_each_other(newcomers: list[RunningNF], guest: Child) -> None:
    for one in newcomers:
        one.is_guest = True
        if one.child is guest:
            one.companions = [other for other in newcomers if other is not one]


def _check_alike(guests: Sequence[Loaded]) -> None:
    """Raises ChildError where processes of one NF say that they are others."""
    for guest in guests:
        if not is_same_in_chain(guest.manifest, guests[0].manifest):
            raise ChildError(guest.child.name, f"is another NF than {guests[0].child.name}")


def _end(living: Sequence[Member], first: RunningNF) -> None:
    for _, nf in living:
        nf.complaint = f"was ended, since {first.name} {first.outcome}"
        nf.child.kill()


def _is_to_be_settled(lane: Lane, nf: RunningNF) -> bool:
    """Of one that has finished, who follows it does so."""
    return nf.exit is not None and not nf.finished and nf in lane.left and not nf.is_settled


def _in_short(error: Exception) -> str:
    return error.failed.error if isinstance(error, ChildFailed) else str(error)


def _has_said_so(child: Child, error: Exception) -> bool:
    """True for one whose terminal shows in full what it has said."""
    return isinstance(error, ChildFailed) and error.name == child.name


def _chain_nf(join: Join) -> ChainNF:
    """Raises ChildBreaksProtocol where `microbox attach` would not say so."""
    source = Path(join.source)
    try:
        name = instance_name(join.name)
    except ValueError as error:
        raise ChildBreaksProtocol("its name", str(error)) from None
    if not source.is_absolute() or not source.is_file():
        raise ChildBreaksProtocol(name, f"is to be '{source}', which is no file")
    if join.on_error not in ("stop", "skip"):
        raise ChildBreaksProtocol(name, f"knows no on_error: {join.on_error}")
    return ChainNF(
        name=name,
        source=source,
        parameters=join.parameters,
        on_error=join.on_error,
        on_failure="closed" if join.fails_closed else "open",
        skips=join.skips,
        after=None if join.after is None else tuple(join.after),
        written=name,
        sandbox=Sandbox(is_on=join.is_confined),
        supervision=Supervision(deadline=max(join.deadline, 0.0), catches_up=join.catches_up),
    )
