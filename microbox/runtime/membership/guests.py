"""NFs that come from users' terminals (`microbox attach`): from the connection to their place in
the chain, and out of it again.

A guest is not the chain's: its own failing, or its being killed, ends it and nothing else. NFs that
it needs (a parser, a log of its alerts) come with it and leave with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path

from microbox.chain.errors import ChainErrors
from microbox.chain.extension import Extension
from microbox.chain.model import ChainNF, instance_name
from microbox.chain.supervision import Supervision
from microbox.channel.async_channel import AsyncChannel
from microbox.channel.messages import Join, Manifest, Refused, Sandbox
from microbox.runtime.control.control_socket import ControlError
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.membership.by_hand import ByHand, dispensable
from microbox.runtime.membership.changes import Changes
from microbox.runtime.membership.pause import ChangeError
from microbox.runtime.nf_start import NFStarter
from microbox.runtime.observer import Observer
from microbox.runtime.processes.foreign_process import ForeignProcess, Peer, PeerError, pidfd_of
from microbox.runtime.processes.supervisor import (
    Child,
    ChildBreaksProtocol,
    ChildError,
    ChildFailed,
)
from microbox.runtime.processes.validation import from_child
from microbox.runtime.running import Running

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
        self._leaving: set[asyncio.Task[None]] = set()

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
        try:
            await self._attach(child)
        except ChildFailed as error:  # which its terminal shows in full
            self._observer.note(f"{child.name} is not attached: {error.failed.error}")
            await self._part_from(child)
        except (ChainErrors, ChangeError, ChildError, OSError) as error:
            self._observer.note(f"{child.name} is not attached: {error}")
            await self._refuse(child, str(error))
            await self._part_from(child)
        except asyncio.CancelledError:
            await self._refuse(child, "the run ends")
            await self._part_from(child)
            raise

    async def _attach(self, child: Child) -> None:
        join, _ = await child.expect(Join, JOIN_PATIENCE, "saying which NF it is")
        nf = _chain_nf(join)
        child.name = nf.name
        lane = self._lane()
        self._extension(lane, nf)  # a name that is taken is refused at once
        manifest = await self._starter.describe(
            child, self._running.chain, nf, base=Path(join.base)
        )
        async with self._changes.planning:
            newcomers = await self._join(lane, nf, Loaded(child, manifest))
        others = ", ".join(one.name for one in newcomers if one.child is not child)
        self._observer.note(
            f"{nf.name} is attached{others and f', with {others}'}, "
            f"from event {newcomers[0].lives.joined:,} on"
        )

    def _lane(self) -> Lane:
        """Raises ChangeError where there are several."""
        lanes = self._running.lanes
        if len(lanes) > 1:
            raise ChangeError(
                f"the run has {len(lanes)} workers, and a terminal has one NF; expected a chain "
                "with `workers: 1`"
            )
        return lanes[0]

    def _extension(self, lane: Lane, nf: ChainNF) -> Extension:
        """Raises ChainErrors."""
        return Extension(self._running.plan, [one.planned for one in lane.left], nf)

    async def _join(self, lane: Lane, nf: ChainNF, guest: Loaded) -> list[RunningNF]:
        """The guest and what it needs, in their places; or all is as it was."""
        extension = self._extension(lane, nf)
        party = [guest]
        newcomers: list[RunningNF] = []
        try:
            while addition := extension.next_addition([one.manifest for one in party]):
                companion = Loaded(
                    *await self._starter.load(self._running.chain, addition.nf, lane.partition)
                )
                party.insert(extension.insert(addition), companion)
            plan = await asyncio.to_thread(extension.plan, [one.manifest for one in party])
            for planned, one in zip(plan.nfs[-len(party) :], party, strict=True):
                newcomers.append(await self._starter.make_ready(lane, plan, planned, one.child))
            _know_each_other(newcomers, guest.child)
            await self._changes.join(plan, [(lane, one) for one in newcomers])
        except BaseException:
            for newcomer in newcomers:
                newcomer.close()
            companions = [one.child for one in party if one is not guest]
            await asyncio.gather(*map(self._starter.dismiss, companions))
            raise
        return newcomers

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
        """It has asked for it."""
        self._in_background(self._leave(nf))

    async def _leave(self, nf: RunningNF) -> None:
        try:
            await self._by_hand.detach(nf.planned.name)
        except ControlError as error:
            await self._refuse(nf.child, str(error))

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
        companions = dispensable(lane, nf)
        if companions:
            with contextlib.suppress(ChangeError, ChildError):  # the input is over: they end
                await self._changes.leave([(lane, one) for one in companions])
        await self._changes.forget(lane, nf)
        await self.settle(lane, nf)

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
