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
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microbox.chain.model import Chain
from microbox.chain.plan import Plan
from microbox.channel.messages import Problem
from microbox.runtime.accounts.losses import Losses
from microbox.runtime.accounts.memory import memory_now
from microbox.runtime.accounts.problems import Problems
from microbox.runtime.accounts.progress import balances_now, nf_status, reading, worker_status
from microbox.runtime.accounts.report import RunReport
from microbox.runtime.accounts.results import ALERT_LOG, Ending, make_report
from microbox.runtime.control.attach_socket import AttachSocket
from microbox.runtime.control.control_server import ControlServer
from microbox.runtime.control.control_socket import ControlError, attach_path, run_name
from microbox.runtime.errors import FAILED, SIGNALLED, Interrupted
from microbox.runtime.failures.restart import Restarts
from microbox.runtime.failures.watch import TICK, Watch
from microbox.runtime.failures.worker_restart import WorkerRestarts
from microbox.runtime.follower import Attendants, Follower
from microbox.runtime.inspection.event_view import event_view
from microbox.runtime.inspection.inquiry import Inquiry
from microbox.runtime.inspection.tracing import Tracing
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.launch import Launcher
from microbox.runtime.machine import (
    available_memory,
    processors,
    warnings_about_memory,
    warnings_about_workers,
)
from microbox.runtime.membership.by_hand import ByHand
from microbox.runtime.membership.chain_reload import ChainReload
from microbox.runtime.membership.changes import Changes
from microbox.runtime.membership.guests import Guests
from microbox.runtime.nf_start import NFStarter
from microbox.runtime.observer import Observer, Reading, Speaker
from microbox.runtime.outputs.log_renewal import LogRenewal
from microbox.runtime.outputs.output_parts import merge_output
from microbox.runtime.processes.confinement import warnings_about
from microbox.runtime.processes.supervisor import ChildFailed
from microbox.runtime.running import Running, RunOptions
from microbox.runtime.terminal import Terminal

if TYPE_CHECKING:
    from microbox.runtime.accounts.metrics_endpoint import MetricsEndpoint

ENDING = (signal.SIGINT, signal.SIGTERM)

LAST_WORDS = 1.0
"""Seconds that whoever writes a pipe has for what it still holds: Ctrl-C, or a service manager,
stops it as well, and then it writes that and ends."""


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
        self._service_manager = options.service_manager
        self._starter = NFStarter(options, self._take_line, self._take_problem)
        self._launcher = Launcher(chain, options, self._starter)
        self._starting: asyncio.Task[Running] | None = None
        self._running: Running | None = None
        self._signal = 0
        self._last_words: asyncio.TimerHandle | None = None
        self._problems = Problems(observer)
        self._ending = Ending()
        self._logs = LogRenewal(self._starter.record_files, observer)
        self._terminal = Terminal()
        self._follower: Follower | None = None
        self._metrics: MetricsEndpoint | None = None

    async def run(self) -> RunReport:
        """As `run_chain`."""
        with self._signals():
            try:
                async with self._endpoint():
                    return await self._run()
            finally:
                await asyncio.gather(*(child.close() for child in self._starter.children))
                self._starter.close()
                if self._running is not None:
                    self._running.close()

    async def _run(self) -> RunReport:
        self._running = running = await self._start()
        for warning in self._warnings(running.plan):
            self._observer.note(f"warning: {warning}")
        self._follower = self._make_follower(running)
        async with self._control():
            if self._signal:  # it came while the run was started
                self._stop_interrupted()
            await self._follow(running, self._follower)
        await self._merge_output(running)
        return await self._report(running)

    @contextlib.asynccontextmanager
    async def _endpoint(self) -> AsyncIterator[None]:
        """Serves metrics, where they are asked for; there are none before NFs are started. Raises
        RunError."""
        if self._options.metrics is None:
            yield
            return
        # Imported here: the library takes its time.
        from microbox.runtime.accounts.metrics_endpoint import MetricsEndpoint

        self._metrics = MetricsEndpoint(self._options.metrics)
        self._observer.note(f"metrics: http://{self._metrics.address}/metrics")
        try:
            yield
        finally:
            await self._metrics.close()

    def _make_follower(self, running: Running) -> Follower:
        changes = Changes(running, self._follow_newcomer)
        restarts = Restarts(running, self._starter, changes, self._observer, self._ending.fail)
        workers = None
        if policy := running.chain.worker_restart:
            workers = WorkerRestarts(running, self._launcher, policy, self._observer.note)
        self._by_hand = ByHand(running, self._starter, changes, self._observer)
        self._chain_reload = ChainReload(running, self._starter, changes, self._observer)
        inquiry = Inquiry(running, changes)
        self._about_flows = {"why": inquiry.why, "trace": Tracing(running, inquiry).trace}
        self._guests = Guests(running, self._starter, changes, self._by_hand, self._observer)
        attendants = Attendants(restarts, workers, self._guests, self._logs)
        return Follower(running, attendants, self._ending, self._observer, self._nf_failed)

    def _warnings(self, plan: Plan) -> list[str]:
        return [
            *warnings_about(self._starter.confined),
            *warnings_about_workers(plan, processors()),
            *warnings_about_memory(plan, available_memory()),
        ]

    async def _report(self, running: Running) -> RunReport:
        """Logs are merged meanwhile, which may take its time."""
        problems = self._problems.reports()
        moved = self._starter.record_files.earlier_lines(ALERT_LOG)
        return await asyncio.to_thread(
            make_report, running, self._options, self._ending, problems, moved
        )

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
                {"status": self.status, "events": self.events, "stop": self._stop_on_request},
                {
                    **self._by_hand.verbs(),
                    **self._about_flows,
                    "reload_chain": self._chain_reload.reload,
                },
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
            attaching = AttachSocket(path, self._guests.welcome, self._chain.workers)
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
            "balances": balances_now(running),
            "memory": dataclasses.asdict(memory_now(running)),
        }

    def events(self) -> dict[str, Any]:
        """What `microbox events --live` shows, and `watch` has to know."""
        return event_view(self._running) if self._running is not None else {}

    def _stop_on_request(self) -> dict[str, Any]:
        self.interrupt(signal.SIGTERM)
        return {}

    # --- signals ---

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.add_signal_handler(number, self.interrupt, number)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        try:
            yield
        finally:
            for number in ENDING:
                loop.remove_signal_handler(number)
            loop.add_signal_handler(signal.SIGHUP, _nothing_is_open)  # as long as there is a loop

    def _hang_up(self) -> None:
        if self._terminal.is_closed:
            self.interrupt(signal.SIGHUP)
        else:
            self._logs.renew()

    def interrupt(self, signal_number: int) -> None:
        """Ends the run in order; the second time at once."""
        if self._signal:
            self._observer.note("ends at once")
            self._ending.is_abrupt = True
            self._stop_by_signal()
            for child in self._starter.children:
                child.kill()
            if self._starting is not None:
                self._starting.cancel()
            return
        self._signal = signal_number
        if self._starting is None:
            self._stop_interrupted()
        elif not self._options.capture.is_stream:  # else what has come is to be read
            self._starting.cancel()

    def _stop_interrupted(self) -> None:
        running = self._running
        if running is not None and any(lane.is_lost for lane in running.lanes):
            self._observer.note("stops: what is left is not read (once more to end at once)")
            self._stop_by_signal()
            if self._follower is not None:
                self._follower.stop_all()
            return
        self._observer.note("stops: reading what is left (once more to end at once)")
        if self._options.capture.is_stream:
            loop = asyncio.get_running_loop()
            self._last_words = loop.call_later(LAST_WORDS, self._stop_by_signal)
        else:
            self._stop_by_signal()

    def _stop_by_signal(self) -> None:
        self.stop("interrupted", "", SIGNALLED + self._signal)

    def stop(self, ended: str, error: str, status: int) -> None:
        """Ends the run in order. What is said first about why is kept."""
        if self._ending.is_stopping or self._follower is None:
            return
        self._ending.stop(ended, error, status)
        self._service_manager.stopping()
        self._follower.stop_all()

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

    async def _follow(self, running: Running, follower: Follower) -> None:
        began = time.monotonic()
        losses = Losses(running, self._observer.note)
        ticking = asyncio.create_task(self._tick(running, losses))
        self._service_manager.ready()
        try:
            await follower.follow()
        finally:
            self._service_manager.stopping()
            if self._last_words is not None:
                self._last_words.cancel()
            ticking.cancel()
            await asyncio.gather(ticking, self._logs.stop(), return_exceptions=True)
        losses.look()
        self._ending.seconds = time.monotonic() - began

    def _follow_newcomer(self, lane: Lane, nf: RunningNF) -> None:
        if self._follower is not None:
            self._follower.follow_nf(lane, nf)

    def _nf_failed(self, nf: RunningNF, how: ChildFailed) -> None:
        failed = how.failed
        if not self._problems.knows(nf.planned.name, failed.error):
            self._take_problem(
                nf.speaker, Problem("error", failed.error, traceback=failed.traceback)
            )
        if nf.planned.on_error == "stop":
            self.stop("failed", f"{nf.name} {nf.outcome}", FAILED)
        self._ending.fail(f"{nf.name} {nf.outcome}")

    def _placed(self, speaker: Speaker) -> Speaker:
        """With an NF's stage, once there is a plan."""
        if not speaker.is_nf:
            return speaker
        nfs = self._running.nfs if self._running is not None else []
        stages = (nf.planned.stage for nf in nfs if nf.planned.name == speaker.name)
        return dataclasses.replace(speaker, stage=next(stages, None))

    def _take_line(self, speaker: Speaker, stream: str, line: str) -> None:
        self._observer.line(self._placed(speaker), stream, line)

    def _take_problem(self, speaker: Speaker, problem: Problem) -> None:
        name, speaker = speaker.name, self._placed(speaker)
        self._problems.add(speaker, problem)
        running = self._running
        if running is None or problem.severity != "error":
            return
        guests = {nf.planned.name for nf in running.nfs if nf.is_guest}
        stops = any(nf.name == name and nf.on_error == "stop" for nf in running.plan.nfs)
        if stops and name not in guests and not self._ending.is_stopping:
            why = f"the chain stops, since {name} raised (on_error: stop)"
            self._observer.note(why, speaker)
            where = f" in {problem.handler}()" if problem.handler else ""
            self.stop("failed", f"{name} raised{where}: {problem.error}", FAILED)

    # --- progress, and who does not move ---

    async def _tick(self, running: Running, losses: Losses) -> None:
        watches: dict[Lane, Watch] = {}
        while True:
            now = self._reading(running)
            self._observer.reading(now)
            self._service_manager.reading(now)
            if self._metrics is not None:
                self._metrics.look(running)
            losses.look()
            for lane in running.lanes:
                if lane not in watches:
                    watches[lane] = Watch(lane, self._options, self._observer.note)
                watches[lane].look(is_stopping=self._ending.is_stopping)
            await asyncio.sleep(TICK)

    def _reading(self, running: Running) -> Reading:
        if self._ending.is_stopping:
            return reading(running, "stopping")
        return reading(running, "live" if self._options.capture.is_stream else "replay")


def _nothing_is_open() -> None:
    """SIGHUP that comes when the run is over: it has no log to open, and is to end nothing."""
