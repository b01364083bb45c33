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
from typing import Any

from microbox.chain.model import Chain
from microbox.channel.messages import (
    Accused,
    Begin,
    Detach,
    Done,
    Failed,
    Finished,
    Message,
    Problem,
    Stop,
)
from microbox.events.catalog import built_in
from microbox.runtime.confinement import in_force, warnings_about
from microbox.runtime.control import ControlError, ControlServer, run_name
from microbox.runtime.errors import FAILED, SIGNALLED, Interrupted
from microbox.runtime.launch import WORKER, Launcher, Patience, Running, RunningNF, RunOptions
from microbox.runtime.observer import Observer, Reading
from microbox.runtime.problems import Problems
from microbox.runtime.report import RunReport
from microbox.runtime.results import Ending, make_report
from microbox.runtime.stall import Stall
from microbox.runtime.supervisor import (
    Child,
    ChildBreaksProtocol,
    ChildError,
    ChildFailed,
    Exit,
)

TICK = 0.1
"""Seconds between two looks at the counters."""

END_OF_INPUT = built_in().resolve("system.end_of_input").number

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
        self._launcher = Launcher(chain, options, observer.line, self._take_problem)
        self._starting: asyncio.Task[Running] | None = None
        self._running: Running | None = None
        self._signal = 0
        self._problems = Problems(observer)
        self._ending = Ending()
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> RunReport:
        """As `run_chain`."""
        with self._signals():
            try:
                self._running = await self._start()
                for warning in warnings_about(self._launcher.confined):
                    self._observer.note(f"warning: {warning}")
                async with self._control():
                    await self._follow(self._running)
                return make_report(
                    self._running, self._options, self._ending, self._problems.reports()
                )
            finally:
                await asyncio.gather(*(child.close() for child in self._launcher.children))
                self._launcher.close()
                if self._running is not None:
                    _unmap(self._running)

    # --- the control socket ---

    @contextlib.asynccontextmanager
    async def _control(self) -> AsyncIterator[None]:
        """Serves the control socket. A run without one goes on: it is a convenience."""
        name = run_name(self._chain.file, os.getpid())
        try:
            server = ControlServer(name, {"status": self.status, "stop": self._stop_on_request})
        except ControlError as error:
            self._observer.note(f"warning: no control socket: {error}")
            yield
            return
        serving = asyncio.create_task(server.serve())
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            server.close()

    def status(self) -> dict[str, Any]:
        """What `microbox ps` shows."""
        running = self._running
        if running is None:
            return {}
        reading = self._reading(running)
        return {
            "process": os.getpid(),
            "chain": self._chain.file,
            "input": str(self._chain.input),
            **dataclasses.asdict(reading),
            "nfs": [_nf_status(nf) for nf in running.nfs],
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
            for child in self._launcher.children:
                child.kill()
            return
        self._signal = signal_number
        if self._starting is not None:
            self._starting.cancel()
            return
        self._observer.note("stops: reading what is left (once more to end at once)")
        self.stop("interrupted", "", SIGNALLED + signal_number)

    def stop(self, ended: str, error: str, status: int) -> None:
        """Ends the run in order. What is said first about why is kept."""
        running = self._running
        if self._ending.is_stopping or running is None:
            return
        self._ending.stop(ended, error, status)
        if running.worker.is_alive:
            self._tell(running.worker, Stop())
            return
        for nf in running.nfs:
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
            await _send_quietly(running.worker, Begin())
            await asyncio.gather(
                self._follow_worker(running),
                *(self._follow_nf(running, nf) for nf in running.nfs),
            )
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, *self._telling, return_exceptions=True)
        self._ending.seconds = time.monotonic() - began

    async def _follow_worker(self, running: Running) -> None:
        worker = running.worker
        try:
            message, _ = await worker.receive()
            while isinstance(message, Accused):
                self._end_the_accused(running, message)
                message, _ = await worker.receive()
            if not isinstance(message, Done | Failed):
                raise ChildBreaksProtocol(WORKER, f"breaks the protocol: '{message.kind}'")
            if isinstance(message, Failed):
                raise ChildFailed(WORKER, message)
        except ChildError as error:
            worker.kill()
            await worker.exited()
            self._worker_is_gone(error)
            return
        self._ending.done = message
        await worker.exited()

    def _end_the_accused(self, running: Running, accused: Accused) -> None:
        """Raises ChildBreaksProtocol where there is no such NF."""
        nf = next((one for one in running.nfs if one.planned.index == accused.index), None)
        if nf is None:
            raise ChildBreaksProtocol(WORKER, f"accuses NF {accused.index}, which is none")
        if nf.child.is_alive and not nf.complaint:
            nf.complaint = f"broke the protocol of shared memory and was killed: {accused.why}"
            nf.child.kill()

    def _worker_is_gone(self, error: ChildError) -> None:
        """The input is over for everybody: nobody else can say so now."""
        why = "did not move: it was ended" if self._ending.worker_hangs else ""
        message = f"the {WORKER} {why}" if why else f"the {error}"
        if self._ending.is_abrupt:
            return  # a person wanted it so
        self._observer.note(f"error: {message}; the run ends here")
        self._ending.is_stopping = False
        self.stop("failed", message, FAILED)

    async def _follow_nf(self, running: Running, nf: RunningNF) -> None:
        try:
            message, _ = await nf.child.receive()
            match message:
                case Finished():
                    nf.finished = message
                case Failed():
                    nf.failure = ChildFailed(nf.name, message)
                case _:
                    raise ChildBreaksProtocol(nf.name, f"breaks the protocol: '{message.kind}'")
        except ChildBreaksProtocol as error:
            nf.complaint = str(error).removeprefix(f"{nf.name} ")
            nf.child.kill()
        except ChildError:
            pass  # it is gone: `exit` says how
        nf.exit = await nf.child.exited()
        if nf.finished:
            self._note_exit(nf, nf.exit)
            return
        self._nf_is_gone(running, nf, nf.exit.status)

    def _note_exit(self, nf: RunningNF, how: Exit) -> None:
        """It has said all that matters; but threads that it left may have to be killed."""
        if how.status and not self._ending.is_abrupt:
            self._observer.note(f"warning: {nf.name} finished, but then its process {how}")

    def _nf_is_gone(self, running: Running, nf: RunningNF, status: int) -> None:
        if running.worker.is_alive:
            self._tell(running.worker, Detach(nf.planned.index, status))
        if self._ending.is_abrupt:
            return
        if nf.failure is None:
            rest = "" if self._ending.is_stopping else "; the rest of the chain goes on"
            self._ending.fail(f"{nf.name} {nf.outcome}")
            self._observer.note(f"error: {nf.name} {nf.outcome}{rest}")
            return
        failed = nf.failure.failed
        if not self._problems.knows(nf.name, failed.error):
            self._take_problem(nf.name, Problem("error", failed.error, traceback=failed.traceback))
        if nf.planned.on_error == "stop":
            self.stop("failed", f"{nf.name} {nf.outcome}", FAILED)
        self._ending.fail(f"{nf.name} {nf.outcome}")

    def _take_problem(self, name: str, problem: Problem) -> None:
        self._problems.add(name, problem)
        running = self._running
        if running is None or problem.severity != "error":
            return
        stops = any(nf.name == name and nf.planned.on_error == "stop" for nf in running.nfs)
        if stops and not self._ending.is_stopping:
            self._observer.note(f"the chain stops, since {name} raised (on_error: stop)")
            where = f" in {problem.handler}()" if problem.handler else ""
            self.stop("failed", f"{name} raised{where}: {problem.error}", FAILED)

    # --- progress, and who does not move ---

    async def _tick(self, running: Running) -> None:
        stall = Stall(time.monotonic)
        noted = False
        while True:
            self._observer.reading(self._reading(running))
            standing = stall.update(_signature(running))
            noted = noted and standing > TICK  # it moved: say it again next time
            if standing > self._options.patience.waiting_note and not noted:
                noted = True
                self._observer.note(f"waits for {_names(_held_up_by(running))}")
            if standing > self._allowed(running):
                self._end_the_stuck(running, standing)
                stall = Stall(time.monotonic)
            await asyncio.sleep(TICK)

    def _allowed(self, running: Running) -> float:
        """Seconds without movement. While there is input to read, an NF may take its time."""
        patience: Patience = self._options.patience
        if self._ending.is_stopping:
            return patience.stop
        return patience.drain if self._input_is_over(running) else float("inf")

    def _input_is_over(self, running: Running) -> bool:
        pages, limit = running.pages, self._options.packet_limit
        is_read = pages.value("input_bytes") >= running.areas.file_size
        is_enough = 0 < limit <= pages.value("packets")
        return (
            is_read
            or is_enough
            or pages.published(END_OF_INPUT) > 0
            or self._ending.done is not None
        )

    def _end_the_stuck(self, running: Running, standing: float) -> None:
        for stuck in _held_up_by(running):
            if isinstance(stuck, RunningNF):
                stuck.complaint = f"did not move for {standing:.0f} s and was killed"
                stuck.child.kill()
                continue
            self._ending.worker_hangs = True
            stuck.kill()

    def _reading(self, running: Running) -> Reading:
        """What the slowest NF has passed: the stack may be a whole log ahead of it."""
        pages = running.pages
        head = pages.head
        slowest = min((position for _, position in _positions(running)), default=head)
        share = slowest / head if head else 1.0
        published = sum(nf.pages.value("published") for nf in running.nfs)
        return Reading(
            doing="stopping" if self._ending.is_stopping else "replay",
            packets=int(pages.value("packets") * share),
            events=slowest + published,
            file_read=int(pages.value("input_bytes") * share),
            file_size=running.areas.file_size,
        )


def _positions(running: Running) -> list[tuple[RunningNF, int]]:
    """Where each NF that lives stands in the worker's log."""
    return [
        (nf, running.pages.passed(nf.planned.index, nf.pages.cursor))
        for nf in running.nfs
        if nf.child.is_alive
    ]


def _nf_status(nf: RunningNF) -> dict[str, Any]:
    return {
        "name": nf.name,
        "process": nf.child.process.pid,
        "outcome": nf.outcome,
        "in_force": in_force(nf.child.process.pid, nf.confined),
        **{counter: nf.pages.value(counter) for counter in ("matched", "handled", "alerts")},
    }


def _signature(running: Running) -> tuple[int, ...]:
    """Numbers of which one changes whenever anybody gets anywhere."""
    nfs = [number for nf in running.nfs for number in _nf_signature(nf)]
    return (running.pages.value("packets"), running.pages.head, running.worker.is_alive, *nfs)


def _nf_signature(nf: RunningNF) -> tuple[int, ...]:
    value = nf.pages.value
    return (nf.pages.cursor, value("handled"), value("published"), nf.child.is_alive)


def _held_up_by(running: Running) -> list[RunningNF | Child]:
    """Whom all others wait for: the first NF of those that are furthest back.

    Where all have read everything: the worker, or those that have not finished.
    """
    positions = _positions(running)
    last, position = min(positions, key=lambda each: each[1], default=(None, 0))
    if last is not None and position < running.pages.head:
        return [last]
    if running.worker.is_alive:
        return [running.worker]
    return [nf for nf, _ in positions]


def _names(stuck: list[RunningNF | Child]) -> str:
    return ", ".join(each.name for each in stuck) or "nobody"


async def _send_quietly(child: Child, message: Message) -> None:
    """For messages that do not matter to one that is gone: its end is seen elsewhere."""
    with contextlib.suppress(ChildError):
        await child.send(message)


def _unmap(running: Running) -> None:
    running.pages.close()
    for nf in running.nfs:
        nf.pages.close()
