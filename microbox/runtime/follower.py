"""Follows lanes: listens to their workers and NFs up to their last words, and does what their end
asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from microbox.channel.messages import (
    Accused,
    Begin,
    Detach,
    Done,
    Failed,
    Finished,
    FlowTraced,
    FoundFlows,
    Leave,
    LogTaken,
    Message,
    Met,
    Paused,
    Prepared,
    Resumed,
    Stop,
    WorkerGone,
)
from microbox.runtime.accounts.results import Ending
from microbox.runtime.errors import FAILED, InputError
from microbox.runtime.failures.restart import Restarts
from microbox.runtime.failures.worker_restart import GivenUpError, WorkerRestarts
from microbox.runtime.inputs.capture import left_in_output
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.membership.guests import Guests
from microbox.runtime.observer import Observer
from microbox.runtime.outputs.log_renewal import LogRenewal
from microbox.runtime.processes.supervisor import (
    Child,
    ChildBreaksProtocol,
    ChildDied,
    ChildError,
    ChildFailed,
    Exit,
)
from microbox.runtime.running import Running


@dataclass(frozen=True, slots=True)
class Attendants:
    """Who else looks after what is followed."""

    restarts: Restarts  # of NFs
    worker_restarts: WorkerRestarts | None  # None: a worker that died ends the run
    guests: Guests
    logs: LogRenewal


class Follower:
    """Of all lanes of one run."""

    def __init__(
        self,
        running: Running,
        attendants: Attendants,
        ending: Ending,
        observer: Observer,
        nf_failed: Callable[[RunningNF, ChildFailed], None],
    ) -> None:
        """`nf_failed` is called for each NF of the chain that has said why it ends."""
        self._running = running
        self._restarts = attendants.restarts
        self._worker_restarts = attendants.worker_restarts
        self._guests = attendants.guests
        self._logs = attendants.logs
        self._ending = ending
        self._observer = observer
        self._nf_failed = nf_failed
        self._telling: set[asyncio.Task[None]] = set()
        self._following: set[asyncio.Task[None]] = set()
        self._nfs_followed: dict[Lane, list[asyncio.Task[None]]] = {}
        self._taking_over: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        """Lets packets flow, until all workers and NFs have ended."""
        try:
            for lane in self._running.lanes:
                await self._follow_lane(lane)
            await self._all_followed()
        finally:
            await asyncio.gather(*self._telling, *self._following, return_exceptions=True)

    def follow_nf(self, lane: Lane, nf: RunningNF) -> None:
        """Also one that comes while packets flow."""
        task = self._follow_in_background(self._follow_one(lane, nf))
        self._nfs_followed.setdefault(lane, []).append(task)
        self._logs.follow(lane, nf)

    def stop_all(self) -> None:
        """The input is over for all lanes, and nobody takes the place of a worker any more."""
        if self._taking_over is not None:
            self._taking_over.cancel()
        for lane in self._running.lanes:
            self._stop_lane(lane)

    def _stop_lane(self, lane: Lane) -> None:
        if lane.worker.is_alive:
            self._tell(lane.worker, Stop())
            return
        for nf in lane.nfs:
            self._tell(nf.child, Stop())

    def _tell(self, child: Child, message: Message) -> None:
        """Sends without waiting for it; one that is gone need not know."""
        task = asyncio.ensure_future(_send_quietly(child, message))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def _follow_in_background(self, following: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(following)
        self._following.add(task)
        return task

    async def _follow_lane(self, lane: Lane) -> None:
        await _send_quietly(lane.worker, Begin())
        self._follow_in_background(self._follow_worker(lane))
        for nf in lane.nfs:
            self.follow_nf(lane, nf)

    async def _all_followed(self) -> None:
        """Until all workers and NFs have ended, also those that come meanwhile."""
        while self._following:
            done, _ = await asyncio.wait(self._following, return_when=asyncio.FIRST_COMPLETED)
            self._following -= done
            for task in done:
                task.result()

    async def _follow_worker(self, lane: Lane) -> None:
        worker = lane.worker
        try:
            lane.done = await self._last_words(lane)
        except ChildError as error:
            worker.kill()
            await worker.exited()
            lane.answers.end(error)
            lane.is_lost = True
            await self._look_at_output(lane)
            self._worker_is_gone(lane, error)
        else:
            lane.answers.end(ChildError(worker.name, "is done: the input is over"))
            await worker.exited()
        await self._restarts.stop(lane, comes_back=self._taking_over is not None)

    async def _last_words(self, lane: Lane) -> Done:
        worker = lane.worker
        while True:
            message, _ = await worker.receive()
            match message:
                case Done():
                    return message
                case Paused() | Prepared() | Resumed() | FoundFlows() | FlowTraced():
                    lane.answers.put(message)
                case Accused():
                    self._end_the_accused(lane, message)
                case Failed():
                    raise ChildFailed(worker.name, message)
                case _:
                    raise ChildBreaksProtocol(worker.name, f"breaks the protocol: '{message.kind}'")

    def _end_the_accused(self, lane: Lane, accused: Accused) -> None:
        """Raises ChildBreaksProtocol where there is no such NF."""
        nf = next((one for one in lane.nfs if one.planned.index == accused.index), None)
        if nf is None:
            raise ChildBreaksProtocol(
                lane.worker.name, f"accuses NF {accused.index}, which is none"
            )
        if nf.child.is_alive and not nf.complaint:
            nf.complaint = f"broke the protocol of shared memory and was killed: {accused.why}"
            nf.child.kill()

    def _worker_is_gone(self, lane: Lane, error: ChildError) -> None:
        """Its log ends where it is: its NFs read up to there and finish. The input is over for all
        other workers."""
        if self._ending.is_abrupt:
            return  # a person wanted it so
        how = f"{lane.worker.name} did not move: it was ended" if lane.hangs else str(error)
        who = f"the {how}" if lane.partition.is_whole else how
        message = f"{who} behind packet {lane.pages.last_packet:,}"
        self._tell_who_is_gone(lane)
        if self._worker_restarts is None or self._ending.is_stopping or lane.hangs:
            self._end_without(lane, message, "NFs read what it left, and the run ends here")
            return
        following = self._take_over(self._worker_restarts, lane, message)
        self._taking_over = self._follow_in_background(following)

    def _end_without(self, lane: Lane, message: str, rest: str) -> None:
        self._observer.note(f"error: {message}; {rest}", lane.worker.speaker)
        self._ending.stop("failed", message, FAILED)
        for other in self._lanes_with_workers():
            self._stop_lane(other)

    async def _take_over(self, workers: WorkerRestarts, lane: Lane, message: str) -> None:
        nfs_end = asyncio.wait(self._nfs_followed[lane])
        try:
            successor = await workers.take_over(lane, message, nfs_end)
        except GivenUpError as error:
            self._end_without(lane, str(error), "the run ends here")
        except asyncio.CancelledError:
            if not self._ending.is_stopping:
                raise
        else:
            await self._follow_lane(successor)
        finally:
            self._taking_over = None

    async def _look_at_output(self, lane: Lane) -> None:
        """What a worker that died had written."""
        if not lane.outputs:
            return
        try:
            lane.output_left = await asyncio.to_thread(
                left_in_output, lane.outputs[0], lane.areas.link_type
            )
        except InputError as error:
            self._ending.fail(f"{self._running.chain.output}: {error}")

    def _lanes_with_workers(self) -> list[Lane]:
        return [lane for lane in self._running.lanes if lane.worker.is_alive]

    def _tell_who_is_gone(self, lane: Lane) -> None:
        """The worker would, but it is gone itself."""
        gone = [nf.planned.index for nf in lane.nfs if nf.exit is not None]
        for nf in lane.nfs:
            if nf.exit is None:
                self._tell(nf.child, WorkerGone(gone))

    async def _follow_one(self, lane: Lane, nf: RunningNF) -> None:
        try:
            await self._listen(lane, nf)
        except ChildBreaksProtocol as error:
            nf.complaint = str(error).removeprefix(f"{nf.name} ")
            nf.child.kill()
        except ChildError:
            pass  # it is gone: `exit` says how
        if nf.finished and nf.is_guest:
            self._guests.has_finished(nf)
        nf.exit = await nf.child.exited()
        nf.answers.end(ChildDied(nf.name, nf.exit))
        if lane.is_lost:
            self._tell_who_is_gone(lane)
        if nf.finished:
            self._note_exit(nf, nf.exit)
            if nf.is_guest:
                await self._guests.settle(lane, nf)
            return
        self._nf_is_gone(lane, nf, nf.exit.status)

    async def _listen(self, lane: Lane, nf: RunningNF) -> None:
        """To what it says, up to its last word."""
        while True:
            message, _ = await nf.child.receive()
            match message:
                case Met():
                    nf.answers.put(message)
                case LogTaken():
                    self._logs.taken(lane, nf)
                case Leave() if nf.is_guest:
                    self._guests.let_leave(nf)
                case Finished():
                    nf.finished = message
                    return
                case Failed():
                    nf.failure = ChildFailed(nf.name, message)
                    return
                case _:
                    raise ChildBreaksProtocol(nf.name, f"breaks the protocol: '{message.kind}'")

    def _note_exit(self, nf: RunningNF, how: Exit) -> None:
        """It has said all that matters; but threads that it left may have to be killed."""
        if how.status and how.is_known and not self._ending.is_abrupt:
            words = f"warning: {nf.name} finished, but then its process {how}"
            self._observer.note(words, nf.speaker)

    def _nf_is_gone(self, lane: Lane, nf: RunningNF, status: int) -> None:
        if lane.worker.is_alive and not nf.leaves:
            self._tell(lane.worker, Detach(nf.planned.index, status))
        if self._ending.is_abrupt:
            return
        if nf.is_guest:
            words = f"warning: {nf.name}, which was attached, {nf.outcome}"
            self._observer.note(words, nf.speaker)
            self._guests.is_gone(lane, nf)
            return
        if nf.failure is None and self._may_come_back(lane, nf) and self._restarts.begin(lane, nf):
            return
        if nf.failure is None:
            rest = "" if self._ending.is_stopping else "; the rest of the chain goes on"
            self._ending.fail(f"{nf.name} {nf.outcome}")
            self._observer.note(f"error: {nf.name} {nf.outcome}{rest}", nf.speaker)
            return
        self._nf_failed(nf, nf.failure)

    def _may_come_back(self, lane: Lane, nf: RunningNF) -> bool:
        return lane.worker.is_alive and not nf.leaves and not self._ending.is_stopping


async def _send_quietly(child: Child, message: Message) -> None:
    """For messages that do not matter to one that is gone: its end is seen elsewhere."""
    with contextlib.suppress(ChildError):
        await child.send(message)
