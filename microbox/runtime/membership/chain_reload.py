"""The chain file was changed: the chain that runs becomes what it says now, as far as it can.

All that can fail fails before anything is changed: the file is read and planned, differences that
cannot be taken are found, and each process that is to come has started. Then NFs leave, others are
read anew, new ones come: each of the three at one event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from microbox.chain.describe import describe_all
from microbox.chain.difference import Difference, said_by
from microbox.chain.errors import ChainErrors
from microbox.chain.plan import Plan
from microbox.chain.revision import Present, Revision, revise, with_changed
from microbox.runtime.control.control_socket import ControlError
from microbox.runtime.lane import RunningNF
from microbox.runtime.membership.by_hand import at_events, in_full
from microbox.runtime.membership.changes import Changes, Member
from microbox.runtime.membership.pause import ChangeError
from microbox.runtime.nf_start import NFStarter, check_is_same
from microbox.runtime.observer import Observer, Speaker
from microbox.runtime.processes.supervisor import ChildError, ChildFailed
from microbox.runtime.processes.validation import from_child
from microbox.runtime.running import Running


class ChainReload:
    """Of one run."""

    def __init__(
        self, running: Running, starter: NFStarter, changes: Changes, observer: Observer
    ) -> None:
        """Reads nothing yet."""
        self._running = running
        self._starter = starter
        self._changes = changes
        self._observer = observer
        self._said = said_by(running.chain)

    async def reload(self, wanted: str) -> dict[str, Any]:
        """`wanted`: "compare" changes nothing, "take" changes all or nothing, "take_part" what it
        can. Raises ControlError."""
        read_anew = self._running.options.read_anew
        if read_anew is None:
            raise ControlError("this run was started without a chain file")
        async with self._changes.planning:
            present = self._present()
            try:
                revision = await asyncio.to_thread(_revision, present, read_anew)
            except ChainErrors as errors:
                return _answer([asdict(one) for one in errors.errors], [], {})
            done: dict[str, list[int]] = {}
            if wanted == "take_part" or (wanted == "take" and not revision.refused):
                done = await self._take(revision)
        return _answer([], revision.differences, done)

    def _present(self) -> Present:
        running = self._running
        lane = running.lanes[0]
        own = [nf for nf in lane.nfs if not nf.is_guest]
        gone = [nf for nf in running.nfs if not nf.child.is_alive]
        sources = {nf.name: nf.source for nf in running.plan.chain.nfs}
        return Present(
            plan=running.plan,
            left=[nf.planned for nf in lane.left],
            said=self._said,
            own={nf.planned.entry for nf in own},
            dead={nf.planned.entry: nf.outcome for nf in gone},
            edited={
                nf.planned.entry
                for nf in own
                if not self._starter.has_loaded(nf.child, sources[nf.planned.name])
            },
        )

    # --- what is done ---

    async def _take(self, revision: Revision) -> dict[str, list[int]]:
        """Events at which NFs changed, by NF. Raises ControlError."""
        members = self._members(revision.renewed)
        try:
            renewed = await self._starter.all_started_again(
                self._running, members, revision.changed
            )
        except (ChildError, OSError) as error:
            raise ControlError(f"nothing was changed: {_words(error)}") from None
        newcomers: list[Member] = []
        done: dict[str, list[int]] = {}
        try:
            await self._start_newcomers(revision, newcomers)
            await self._change(revision, members, renewed, newcomers, done)
        except (ChainErrors, ChangeError, ChildError, OSError) as error:
            for nf in [*renewed, *(nf for _, nf in newcomers)]:
                if nf not in self._running.nfs:
                    nf.child.kill()
            before = f"changed: {', '.join(done)}; not the rest" if done else "nothing was changed"
            raise ControlError(f"{before}: {_words(error)}") from None
        return done

    def _members(self, entries: Sequence[str]) -> list[Member]:
        return [
            (lane, nf)
            for lane in self._running.lanes
            for nf in lane.nfs
            if nf.planned.entry in entries and not nf.is_guest
        ]

    async def _start_newcomers(self, revision: Revision, started: list[Member]) -> None:
        chain = revision.plan.chain
        said = {nf.name: nf for nf in revision.plan.chain.nfs}
        planned = [nf for nf in revision.plan.nfs if nf.name in revision.coming]
        for lane in self._running.lanes:
            for nf in planned:
                child, manifest = await self._starter.load(chain, said[nf.name], lane.partition)
                try:
                    check_is_same(child, manifest, nf)
                    ready = await self._starter.make_ready(lane, revision.plan, nf, child)
                except BaseException:
                    child.kill()
                    raise
                started.append((lane, ready))

    async def _change(
        self,
        revision: Revision,
        members: Sequence[Member],
        renewed: Sequence[RunningNF],
        newcomers: Sequence[Member],
        done: dict[str, list[int]],
    ) -> None:
        """Raises ChangeError, ChildError; `done` says how far it came."""
        if leaving := self._members(revision.leaving):
            heads = await self._changes.leave(leaving)
            self._note(done, revision.leaving, heads, "leaves, after")
        if members:
            heads = await self._changes.hand_over(members, renewed, revision.changed)
            self._note(done, revision.renewed, heads, "was read anew and runs from")
        await self._changes.supervise(revision.changed)
        for name in {nf.entry for nf in revision.changed.values()} - {*done}:
            self._note(done, [name], [], "goes on by what its entry says now")
        if newcomers:
            plan = with_changed(revision.plan, revision.changed)
            heads = await self._changes.join(plan, newcomers)
            self._note(done, revision.coming, heads, "comes, from")
        self._said = revision.said

    def _note(
        self, done: dict[str, list[int]], names: Sequence[str], heads: list[int], words: str
    ) -> None:
        for name in names:
            done[name] = heads
            where = f" {at_events(heads)}" if heads else ""
            self._observer.note(f"{name} {words}{where}", Speaker(name))


def _revision(present: Present, read_anew: Callable[[], Plan]) -> Revision:
    return revise(present, read_anew(), partial(describe_all, decode=from_child))


def _answer(
    errors: list[dict[str, Any]], differences: list[Difference], done: dict[str, list[int]]
) -> dict[str, Any]:
    """Stable keys (docs/guide/cli.md)."""
    return {
        "errors": errors,
        "differences": [
            {
                "action": one.action,
                "subject": one.subject,
                "what": one.what,
                "where": one.position.spelled,
                "reason": one.reason,
                "done": one.subject in done,
                "events": done.get(one.subject, []),
            }
            for one in differences
        ],
    }


def _words(error: Exception) -> str:
    return in_full(error) if isinstance(error, ChildFailed) else str(error)
