"""NFs that died are started again, after delays that grow, until they are given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from microbox.chain.supervision import Restart
from microbox.runtime.lane import Lane, Lives, RunningNF
from microbox.runtime.membership.changes import Changes
from microbox.runtime.membership.pause import ChangeError, InputOverError
from microbox.runtime.nf_start import NFStarter
from microbox.runtime.observer import Observer
from microbox.runtime.processes.supervisor import ChildError
from microbox.runtime.running import Running

STEADY = 60.0
"""Seconds that an NF must run for its restarts to be counted from 0 again."""


@dataclass(slots=True)
class Attempts:
    """How often something was started again, and when last."""

    count: int = 0
    last: float = field(default_factory=time.monotonic)

    def next(self) -> int:
        """The number of one more, from 1."""
        now = time.monotonic()
        if now - self.last > STEADY:
            self.count = 0
        self.count += 1
        self.last = now
        return self.count


def restarts(count: int) -> str:
    """For people."""
    return f"{count} restart{'s' if count > 1 else ''}"


class Restarts:
    """Of one run."""

    def __init__(
        self,
        running: Running,
        starter: NFStarter,
        changes: Changes,
        observer: Observer,
        give_up: Callable[[str], None],
    ) -> None:
        """`give_up` is called with a sentence for each NF that stays dead."""
        self._running = running
        self._starter = starter
        self._changes = changes
        self._observer = observer
        self._give_up = give_up
        self._attempts: dict[tuple[Lane, str], Attempts] = {}
        self._tasks: dict[asyncio.Task[None], tuple[Lane, RunningNF]] = {}

    def begin(self, lane: Lane, nf: RunningNF) -> bool:
        """Starts a dead NF again, in time. False where the chain does not ask for that."""
        policy = nf.planned.supervision.restart
        if policy is None:
            return False
        task = asyncio.create_task(self._bring_back(lane, nf, policy))
        self._tasks[task] = lane, nf
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return True

    async def stop(self, lane: Lane, *, comes_back: bool = False) -> None:
        """The lane's input is over: who is down there stays so. `comes_back`: not for long, since
        all NFs are started anew."""
        down = {task: nf for task, (its_lane, nf) in self._tasks.items() if its_lane is lane}
        for task in down:
            task.cancel()
        await asyncio.gather(*down, return_exceptions=True)
        for nf in [] if comes_back else down.values():
            self._give_up(f"{nf.name} {nf.outcome}")

    async def _bring_back(self, lane: Lane, nf: RunningNF, policy: Restart) -> None:
        why = nf.outcome
        while True:
            attempt = self._attempts.setdefault((lane, nf.name), Attempts()).next()
            if attempt > policy.attempts:
                times = restarts(policy.attempts)
                words = f"{nf.name} {why}; given up after {times}"
                self._observer.note(f"error: {words}; the rest of the chain goes on", nf.speaker)
                self._give_up(words)
                return
            delay = policy.delay(attempt)
            self._observer.note(
                f"{nf.name} {why}; it starts again in {delay:g} s ({attempt} of {policy.attempts})",
                nf.speaker,
            )
            await asyncio.sleep(delay)
            try:
                await self._start_again(lane, nf)
            except InputOverError:
                words = f"error: {nf.name} {why}, and then the input was over"
                self._observer.note(words, nf.speaker)
                self._give_up(f"{nf.name} {why}")
                return
            except (ChangeError, ChildError, OSError) as error:
                why = f"cannot be started again: {error}"
                continue
            return

    async def _start_again(self, lane: Lane, nf: RunningNF) -> None:
        renewed = await self._starter.start_again(self._running, lane, nf)
        renewed.lives = Lives(
            restarts=nf.lives.restarts + 1,
            counters=[*nf.lives.counters, nf.pages.counters()],
            joined=nf.lives.joined,
            missed=nf.lives.missed,
            promoted=nf.lives.promoted,
        )
        try:
            head = await self._changes.take_place(lane, renewed)
        except BaseException:
            renewed.child.kill()
            raise
        self._observer.note(f"{nf.name} runs again, from event {head:,} on", renewed.speaker)
