"""Runs a chain: starts its processes, watches them, ends them in order, reports.

Three things can end a run: the input is over, a person stops it, or something fails. All go the
same way: the worker is told that the input is over, all NFs read what is left and finish. Only who
does not move for longer than patience allows is killed, and named.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

from microbox.chain.model import Chain
from microbox.chain.plan import Plan
from microbox.channel.messages import (
    Accused,
    Begin,
    Detach,
    Done,
    Failed,
    Finished,
    Leave,
    Message,
    Met,
    Paused,
    Problem,
    Resumed,
    Stop,
    WorkerGone,
)
from microbox.runtime.attach_socket import AttachSocket
from microbox.runtime.by_hand import ByHand
from microbox.runtime.capture import left_in_output
from microbox.runtime.changes import Changes
from microbox.runtime.confinement import warnings_about
from microbox.runtime.control import ControlError, ControlServer, attach_path, run_name
from microbox.runtime.errors import FAILED, SIGNALLED, InputError, Interrupted
from microbox.runtime.guests import Guests
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.launch import Launcher
from microbox.runtime.machine import available_memory, processors, warnings_about_workers
from microbox.runtime.nf_start import NFStarter
from microbox.runtime.observer import Observer, Reading
from microbox.runtime.output_parts import merge_output
from microbox.runtime.problems import Problems
from microbox.runtime.progress import nf_status, reading, worker_status
from microbox.runtime.report import RunReport
from microbox.runtime.restart import Restarts
from microbox.runtime.results import Ending, make_report
from microbox.runtime.running import Running, RunOptions
from microbox.runtime.supervisor import (
    Child,
    ChildBreaksProtocol,
    ChildDied,
    ChildError,
    ChildFailed,
    Exit,
)
from microbox.runtime.watch import TICK, Watch
from microbox.runtime.worker_restart import GivenUpError, WorkerRestarts

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_chain(chain: Chain, options: RunOptions, observer: Observer) -> RunReport:
    """Runs the chain to its end, which may come early; the report says how it went.

    Raises ChainErrors and RunError where it does not come to the first packet. No child outlives
    this call.
    """
    return await Controller(chain, options, observer).run()


class Controller:
    """One run."""

    def __init__(self, chain: Chain, options: RunOptions, observer: Observer) -> None:
        """Starts nothing yet."""
        self._chain = chain
        self._options = options
        self._observer = observer
        self._starter = NFStarter(options, observer.line, self._take_problem)
        self._launcher = Launcher(chain, options, self._starter)
        self._starting: asyncio.Task[Running] | None = None
        self._running: Running | None = None
        self._signal = 0
        self._problems = Problems(observer)
        self._ending = Ending()
        self._telling: set[asyncio.Task[None]] = set()
        self._following: set[asyncio.Task[None]] = set()
        self._nfs_followed: dict[Lane, list[asyncio.Task[None]]] = {}
        self._worker_restarts: WorkerRestarts | None = None
        self._taking_over: asyncio.Task[None] | None = None

    async def run(self) -> RunReport:
        """As `run_chain`."""
        with self._signals():
            try:
                self._running = await self._start()
                for warning in self._warnings(self._running.plan):
                    self._observer.note(f"warning: {warning}")
                self._changes = Changes(self._running, self._follow_nf)
                self._restarts = Restarts(
                    self._running,
                    self._starter,
                    self._changes,
                    self._observer,
                    self._ending.fail,
                )
                if policy := self._running.chain.worker_restart:
                    self._worker_restarts = WorkerRestarts(
                        self._running, self._launcher, policy, self._observer.note
                    )
                self._by_hand = ByHand(self._running, self._starter, self._changes, self._observer)
                self._guests = Guests(
                    self._running,
                    self._starter,
                    self._changes,
                    self._by_hand,
                    self._observer,
                )
                async with self._control():
                    await self._follow(self._running)
                await self._merge_output(self._running)
                return await self._report(self._running)
            finally:
                await asyncio.gather(*(child.close() for child in self._starter.children))
                self._starter.close()
                if self._running is not None:
                    self._running.close()

    def _warnings(self, plan: Plan) -> list[str]:
        about_workers = warnings_about_workers(
            plan, processors=processors(), available=available_memory()
        )
        return [*warnings_about(self._starter.confined), *about_workers]

    async def _report(self, running: Running) -> RunReport:
        """Logs are merged meanwhile, which may take its time."""
        problems = self._problems.reports()
        return await asyncio.to_thread(make_report, running, self._options, self._ending, problems)

    async def _merge_output(self, running: Running) -> None:
        """Of several workers, each of which has written a part."""
        parts = [fd for lane in running.lanes for fd in lane.outputs]
        if len(parts) <= 1:
            return
        link_type = running.lanes[0].areas.link_type
        complaint = await asyncio.to_thread(merge_output, parts, running.output[0], link_type)
        if complaint:
            self._ending.fail(f"{running.chain.output}: {complaint}")

    # --- the control socket ---

    @contextlib.asynccontextmanager
    async def _control(self) -> AsyncIterator[None]:
        """Serves the control socket. A run without one goes on: it is a convenience."""
        name = run_name(self._chain.file, os.getpid())
        try:
            server = ControlServer(
                name,
                {"status": self.status, "stop": self._stop_on_request},
                self._by_hand.verbs(),
            )
        except ControlError as error:
            self._observer.note(f"warning: no control socket: {error}")
            yield
            return
        serving = asyncio.create_task(server.serve())
        try:
            async with self._attaching(attach_path(server.path)):
                yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            server.close()

    @contextlib.asynccontextmanager
    async def _attaching(self, path: Path) -> AsyncIterator[None]:
        """Takes in NFs from terminals, where a socket can be had for it."""
        try:
            attaching = AttachSocket(path, self._guests.welcome)
        except ControlError as error:
            self._observer.note(f"warning: nothing can be attached: {error}")
            yield
            return
        try:
            yield
        finally:
            await attaching.close()
            await self._guests.stop()

    def status(self) -> dict[str, Any]:
        """What `microbox ps` shows."""
        running = self._running
        if running is None:
            return {}
        return {
            "process": os.getpid(),
            "chain": self._chain.file,
            "input": str(self._chain.input),
            **dataclasses.asdict(self._reading(running)),
            "workers": [worker_status(lane) for lane in running.lanes],
            "nfs": [nf_status(lane, nf) for lane in running.lanes for nf in lane.nfs],
        }

    def _stop_on_request(self) -> dict[str, Any]:
        self.interrupt(signal.SIGTERM)
        return {}

    # --- signals ---

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.interrupt, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def interrupt(self, signal_number: int) -> None:
        """Ends the run in order; the second time at once."""
        if self._signal:
            self._observer.note("ends at once")
            self._ending.is_abrupt = True
            for child in self._starter.children:
                child.kill()
            return
        self._signal = signal_number
        if self._starting is not None:
            self._starting.cancel()
            return
        running = self._running
        if running is None or not any(lane.is_lost for lane in running.lanes):
            self._observer.note("stops: reading what is left (once more to end at once)")
            self.stop("interrupted", "", SIGNALLED + signal_number)
            return
        self._observer.note("stops: what is left is not read (once more to end at once)")
        self.stop("interrupted", "", SIGNALLED + signal_number)
        self._stop_all(running)

    def stop(self, ended: str, error: str, status: int) -> None:
        """Ends the run in order. What is said first about why is kept."""
        running = self._running
        if self._ending.is_stopping or running is None:
            return
        self._ending.stop(ended, error, status)
        if self._taking_over is not None:
            self._taking_over.cancel()
        self._stop_all(running)

    def _stop_all(self, running: Running) -> None:
        for lane in running.lanes:
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

    # --- the start ---

    async def _start(self) -> Running:
        self._starting = asyncio.create_task(self._launcher.launch())
        try:
            return await self._starting
        except asyncio.CancelledError:
            if self._signal:
                raise Interrupted(self._signal) from None
            raise
        finally:
            self._starting = None

    # --- while packets flow ---

    async def _follow(self, running: Running) -> None:
        began = time.monotonic()
        ticking = asyncio.create_task(self._tick(running))
        try:
            for lane in running.lanes:
                await self._follow_lane(lane)
            await self._all_followed()
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, *self._telling, *self._following, return_exceptions=True)
        self._ending.seconds = time.monotonic() - began

    def _follow_in_background(self, following: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(following)
        self._following.add(task)
        return task

    async def _follow_lane(self, lane: Lane) -> None:
        await _send_quietly(lane.worker, Begin())
        self._follow_in_background(self._follow_worker(lane))
        for nf in lane.nfs:
            self._follow_nf(lane, nf)

    def _follow_nf(self, lane: Lane, nf: RunningNF) -> None:
        task = self._follow_in_background(self._follow_one(lane, nf))
        self._nfs_followed.setdefault(lane, []).append(task)

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
                case Paused() | Resumed():
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
            self._end_without(message, "NFs read what it left, and the run ends here")
            return
        following = self._take_over(self._worker_restarts, lane, message)
        self._taking_over = self._follow_in_background(following)

    def _end_without(self, message: str, rest: str) -> None:
        self._observer.note(f"error: {message}; {rest}")
        self._ending.stop("failed", message, FAILED)
        for other in self._lanes_with_workers():
            self._stop_lane(other)

    async def _take_over(self, workers: WorkerRestarts, lane: Lane, message: str) -> None:
        nfs_end = asyncio.wait(self._nfs_followed[lane])
        try:
            successor = await workers.take_over(lane, message, nfs_end)
        except GivenUpError as error:
            self._end_without(str(error), "the run ends here")
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
            self._ending.fail(f"{self._chain.output}: {error}")

    def _lanes_with_workers(self) -> list[Lane]:
        running = self._running
        return [lane for lane in running.lanes if lane.worker.is_alive] if running else []

    def _tell_who_is_gone(self, lane: Lane) -> None:
        """The worker would, but it is gone itself."""
        gone = [nf.planned.index for nf in lane.nfs if nf.exit is not None]
        for nf in lane.nfs:
            if nf.exit is None:
                self._tell(nf.child, WorkerGone(gone))

    async def _follow_one(self, lane: Lane, nf: RunningNF) -> None:
        try:
            await self._listen(nf)
        except ChildBreaksProtocol as error:
            nf.complaint = str(error).removeprefix(f"{nf.name} ")
            nf.child.kill()
        except ChildError:
            pass  # it is gone: `exit` says how
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

    async def _listen(self, nf: RunningNF) -> None:
        """To what it says, up to its last word."""
        while True:
            message, _ = await nf.child.receive()
            match message:
                case Met():
                    nf.answers.put(message)
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
            self._observer.note(f"warning: {nf.name} finished, but then its process {how}")

    def _nf_is_gone(self, lane: Lane, nf: RunningNF, status: int) -> None:
        if lane.worker.is_alive and not nf.leaves:
            self._tell(lane.worker, Detach(nf.planned.index, status))
        if self._ending.is_abrupt:
            return
        if nf.is_guest:
            self._observer.note(f"warning: {nf.name}, which was attached, {nf.outcome}")
            self._guests.is_gone(lane, nf)
            return
        if nf.failure is None and self._may_come_back(lane, nf) and self._restarts.begin(lane, nf):
            return
        if nf.failure is None:
            rest = "" if self._ending.is_stopping else "; the rest of the chain goes on"
            self._ending.fail(f"{nf.name} {nf.outcome}")
            self._observer.note(f"error: {nf.name} {nf.outcome}{rest}")
            return
        failed = nf.failure.failed
        if not self._problems.knows(nf.planned.name, failed.error):
            self._take_problem(
                nf.planned.name, Problem("error", failed.error, traceback=failed.traceback)
            )
        if nf.planned.on_error == "stop":
            self.stop("failed", f"{nf.name} {nf.outcome}", FAILED)
        self._ending.fail(f"{nf.name} {nf.outcome}")

    def _may_come_back(self, lane: Lane, nf: RunningNF) -> bool:
        return lane.worker.is_alive and not nf.leaves and not self._ending.is_stopping

    def _take_problem(self, name: str, problem: Problem) -> None:
        self._problems.add(name, problem)
        running = self._running
        if running is None or problem.severity != "error":
            return
        guests = {nf.planned.name for nf in running.nfs if nf.is_guest}
        stops = any(nf.name == name and nf.on_error == "stop" for nf in running.plan.nfs)
        if stops and name not in guests and not self._ending.is_stopping:
            self._observer.note(f"the chain stops, since {name} raised (on_error: stop)")
            where = f" in {problem.handler}()" if problem.handler else ""
            self.stop("failed", f"{name} raised{where}: {problem.error}", FAILED)

    # --- progress, and who does not move ---

    async def _tick(self, running: Running) -> None:
        watches: dict[Lane, Watch] = {}
        while True:
            self._observer.reading(self._reading(running))
            for lane in running.lanes:
                if lane not in watches:
                    watches[lane] = Watch(lane, self._options, self._observer.note)
                watches[lane].look(is_stopping=self._ending.is_stopping)
            await asyncio.sleep(TICK)

    def _reading(self, running: Running) -> Reading:
        return reading(running, "stopping" if self._ending.is_stopping else "replay")


async def _send_quietly(child: Child, message: Message) -> None:
    """For messages that do not matter to one that is gone: its end is seen elsewhere."""
    with contextlib.suppress(ChildError):
        await child.send(message)
