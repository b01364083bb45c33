"""An NF in a terminal has a process for each worker, as any NF has. They come one by one, and are
looked after as one from when all are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from microbox.channel.messages import Join
from microbox.runtime.membership.pause import ChangeError
from microbox.runtime.processes.supervisor import Child, ChildBreaksProtocol


@dataclass(eq=False, slots=True)
class Replicas:
    """The processes of one NF."""

    join: Join  # what each of them said, but for the worker
    members: dict[int, Child] = field(default_factory=dict)  # by the worker's index
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    doing: asyncio.Task[None] | None = None

    @property
    def children(self) -> Sequence[Child]:
        """In the order of the workers, once it is complete."""
        return [self.members[index] for index in sorted(self.members)]

    def has_spokesman(self, child: Child) -> bool:
        """True for one of them: what concerns all is said once."""
        return min(self.members.items())[1] is child

    async def do_once(self, doing: Callable[[Replicas], Awaitable[None]]) -> None:
        """All members come here, and each waits until it is done; it raises for each."""
        if self.doing is None:
            self.doing = asyncio.ensure_future(doing(self))
        await self.doing


class Gathering:
    """Of one run: those that are not complete yet."""

    def __init__(self, workers: int) -> None:
        """Nobody has come."""
        self._workers = workers
        self._incomplete: list[Replicas] = []

    def put(self, child: Child, join: Join) -> Replicas:
        """Those that this process is one of. Raises ChangeError, ChildBreaksProtocol."""
        if join.workers != self._workers:
            there = f"{self._workers} worker{'s' if self._workers > 1 else ''}"
            raise ChangeError(
                f"the run has {there}, and '{join.name}' a process for each of {join.workers}; "
                "expected as many"
            )
        if not 0 <= join.worker < self._workers:
            raise ChildBreaksProtocol(child.name, f"is for worker {join.worker}, which is none")
        replicas = self._those_of(replace(join, worker=0))
        if join.worker in replicas.members:
            raise ChildBreaksProtocol(child.name, f"is a second one for worker {join.worker}")
        replicas.members[join.worker] = child
        if len(replicas.members) == self._workers:
            self._incomplete.remove(replicas)
            replicas.complete.set()
        return replicas

    def _those_of(self, join: Join) -> Replicas:
        for replicas in self._incomplete:
            if replicas.join == join:
                return replicas
        self._incomplete.append(Replicas(join))
        return self._incomplete[-1]

    async def complete(self, replicas: Replicas, patience: float) -> None:
        """Until all are there. Raises ChangeError after so many seconds."""
        try:
            async with asyncio.timeout(patience):
                await replicas.complete.wait()
        except TimeoutError:
            came = len(replicas.members)
            raise ChangeError(
                f"only {came} of {self._workers} processes of '{replicas.join.name}' came"
            ) from None
        finally:
            if replicas in self._incomplete and not replicas.complete.is_set():
                self._incomplete.remove(replicas)
