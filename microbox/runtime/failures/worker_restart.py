"""A worker that died: another one goes on behind the packets that it has handled, with fresh
processes of all NFs, after delays that grow, until it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from microbox.chain.errors import ChainErrors
from microbox.chain.plan import Plan
from microbox.chain.planner import make_plan
from microbox.chain.supervision import Restart
from microbox.events.catalog import built_in
from microbox.runtime.failures.restart import Attempts, restarts
from microbox.runtime.lane import Lane
from microbox.runtime.launch import Launcher
from microbox.runtime.processes.supervisor import ChildError
from microbox.runtime.running import Running


class GivenUpError(Exception):
    """The worker died too often. Says what happened, for people."""


class WorkerRestarts:
    """Of one run."""

    def __init__(
        self,
        running: Running,
        launcher: Launcher,
        policy: Restart,
        note: Callable[[str], None],
    ) -> None:
        """`note` is called with sentences for people."""
        self._running = running
        self._launcher = launcher
        self._policy = policy
        self._note = note
        self._attempts = Attempts()

    async def take_over(self, lost: Lane, why: str, nfs_end: Awaitable[object]) -> Lane:
        """A lane in the place of one whose worker is gone, once its NFs have ended. Raises
        GivenUpError."""
        ending = asyncio.ensure_future(nfs_end)
        while True:
            delay = self._next_delay(why)
            await asyncio.sleep(delay)
            await ending
            try:
                return await self._replaced(lost)
            except (ChildError, ChainErrors, OSError) as error:
                why = f"no other worker can be started: {error}"

    def _next_delay(self, why: str) -> float:
        attempt, most = self._attempts.next(), self._policy.attempts
        if attempt > most:
            raise GivenUpError(f"{why}; given up after {restarts(most)}")
        delay = self._policy.delay(attempt)
        self._note(f"{why}; another one starts in {delay:g} s ({attempt} of {most})")
        return delay

    async def _replaced(self, lost: Lane) -> Lane:
        running = self._running
        guests = {nf.planned.name for nf in lost.nfs if nf.is_guest}
        plan = _as_it_is_now(running.plan, without=guests)
        lane = await self._launcher.replace(plan, lost)
        running.plan = plan
        running.past.append(lost)
        running.lanes[running.lanes.index(lost)] = lane
        self._note(f"another worker goes on behind packet {lane.pages.packets_before:,}")
        return lane


def _as_it_is_now(plan: Plan, without: Collection[str]) -> Plan:
    """The plan of the NFs that have not left, and can be started anew. Who was promoted is not in
    shadow again. Raises ChainErrors."""
    planned = {nf.name: nf for nf in plan.nfs if nf.name not in without}
    nfs = tuple(
        replace(nf, is_shadow=planned[nf.name].is_shadow)
        for nf in plan.chain.nfs
        if nf.name in planned
    )
    chain = replace(plan.chain, nfs=nfs)
    described = [planned[nf.name].manifest for nf in nfs]
    return make_plan(chain, described, built_in(), known=plan.user_types)
