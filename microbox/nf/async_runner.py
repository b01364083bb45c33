"""The loop of an NF with `async def` handlers: as `runner`, on an event loop.

Handlers still run one at a time, in the order of the log: an event's coroutine is awaited before
the next event is handed over, and until then the NF's cursor stays before it, so that event and
data stay valid. Meanwhile, and while no events come, the loop runs whatever else the NF has begun:
tasks, timers, servers. A handler that is no coroutine is called as ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine
from typing import Any

from microbox.channel.messages import Problem
from microbox.nf.errors import UsageError
from microbox.nf.event import Event
from microbox.nf.handlers import BatchCall, Call
from microbox.nf.problems import HandlerFailed
from microbox.nf.reader import BusError, severity_of
from microbox.nf.runner import NO_EVENT, Runner
from microbox.nf.waiter import Waiter


class AsyncRunner(Runner):
    """Runs one NF over one reader, in the event loop that `run` is called in."""

    is_async = True

    _loop: asyncio.AbstractEventLoop | None = None
    _waiter: Waiter
    _between: Callable[[], None]
    _work: asyncio.Task[None] | None = None  # all that the NF does with events
    _stopped = False
    _is_cancelling = False
    _broken: HandlerFailed | None = None  # by a task of the NF's own

    async def run(self, timeout_ns: int, between: Callable[[], None]) -> None:
        """From the NF's first event to its finish(). Calls `between` before each look for events,
        which waits up to `timeout_ns`. Raises HandlerFailed where the NF is to stop."""
        self._loop = asyncio.get_running_loop()
        self._between = between
        self._waiter = Waiter(lambda: self._reader.poll(timeout_ns))
        self._work = asyncio.ensure_future(self._until_the_end())
        try:
            await asyncio.wait([self._work])
            if self._work.cancelled():
                await self._after_cancelling()
            else:
                self._work.result()
        finally:
            self._waiter.close()

    def cancel(self) -> None:
        """As Runner's, and ends the run."""
        super().cancel()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """The input is over now: a handler that awaits something is cancelled, then finish() is
        called. From within the loop."""
        self._stopped = True
        self._cancel_handler()

    def _cancel_handler(self) -> None:
        """Not a wait for events, during which the reader is the other thread's: that ends soon."""
        if self._work is not None and not self._deliveries.is_at_rest and not self.is_finished:
            self._is_cancelling = True
            self._work.cancel()

    async def _until_the_end(self) -> None:
        while not self.is_finished:
            count = await self._next_poll()
            if self._broken is not None:
                raise self._broken
            if self._stopped or (not count and self._reader.is_at_end):
                await self._finish()
            elif count:
                await self._handle_poll(count)
                self._deliveries.note_time()
                self._reader.advance()

    async def _after_cancelling(self) -> None:
        if self._broken is not None:
            raise self._broken
        self._is_cancelling = False
        self._deliveries.take_views_back()
        await self._finish()

    async def _next_poll(self) -> int:
        """What there is, or what comes first; 0 where nothing did."""
        self._deliveries.is_at_rest = True
        try:
            await asyncio.sleep(0)  # the NF's own tasks have a turn, however busy the log is
            self._between()
            return self._reader.poll(0) or await self._wait()
        except BusError as error:
            self._tell(Problem(severity_of(error), str(error)))
            return 0
        finally:
            self._deliveries.is_at_rest = False

    async def _wait(self) -> int:
        if self.records is not None:
            self.records.flush()
        return await self._waiter.wait()

    # --- as in Runner, with what is awaited ---

    async def _handle_poll(self, count: int) -> None:
        end = self._begin_poll(count)
        if self._handlers.routes:
            start = 0
            while start < count:
                start = await self._await_handlers(start, count)
            if self._kept_events():
                await self._let_go()
            self._check_kept()
        for one in self._handlers.batches:
            await self._await_batch(one, count)
        if self._end_poll(count, end):
            await self._finish()

    async def _await_handlers(self, start: int, end: int) -> int:
        """As _call_handlers."""
        deliveries = self._deliveries
        try:
            index = deliveries.run(start, end)
            while index < end:
                await self._await_handler()
                index = deliveries.run(index + 1, end)
        except HandlerFailed:
            raise
        except Exception as error:
            _, event, name = deliveries.call
            self._failed(name, error, repr(event))
            return deliveries.index + 1
        return end

    async def _await_handler(self) -> None:
        """As _attend; what the handler returned may have to be awaited."""
        deliveries, counters = self._deliveries, self._reader.counters
        if deliveries.was_called:
            verdict, (_, event, name) = deliveries.verdict, deliveries.call
            if asyncio.iscoroutine(verdict):
                # Counted as handled when it was called.
                counters.handled -= event is not NO_EVENT
        else:
            function, event, name = self._still_wanted()
            verdict = function(event)
            if not asyncio.iscoroutine(verdict):
                counters.handled += event is not NO_EVENT
        if asyncio.iscoroutine(verdict):
            verdict = await self._awaited(verdict)
            counters.handled += event is not NO_EVENT
        await self._conclude_later(verdict, name)

    async def _conclude_later(self, verdict: Any, name: str) -> None:
        """As _conclude."""
        if self._deliveries.views_are_held():
            await self._let_go()
        self._conclude(verdict, name)

    async def _call_each(self, calls: list[Call], _: Event) -> None:  # type: ignore[override]
        """As Runner's; a coroutine, which is awaited like a handler's."""
        for function, event, name in calls:
            try:
                verdict = function(event)
                if asyncio.iscoroutine(verdict):
                    verdict = await self._awaited(verdict)
                self._count_handled(name)
                await self._conclude_later(verdict, name)
            except Exception as error:
                self._failed(name, error, repr(event))

    async def _await_batch(self, call: BatchCall, count: int) -> None:
        batch = call.selector.select(count)
        if batch is None:
            return
        try:
            verdicts: Any = call.function(batch)
            if asyncio.iscoroutine(verdicts):
                verdicts = await self._awaited(verdicts)
            self._conclude_batch(call, batch, verdicts)
        except Exception as error:
            self._batch_failed(call, batch, error)

    async def _let_go(self) -> None:
        """Before anybody is blamed for keeping something: an exception that a handler caught may
        go on holding the coroutine's frames. If it was thrown in by the loop, it lives until this
        task waits again; if it is part of a ring, as asyncio makes them, until the collector comes.
        """
        await asyncio.sleep(0)
        gc.collect()

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What a function of the NF's returns. A task that it awaits may be cancelled without this
        one being so: that is an error of its own, and no end of the run."""
        try:
            return await coroutine
        except asyncio.CancelledError as error:
            if self._is_cancelling:
                raise
            raise UsageError("it awaited a task that was cancelled") from error

    # --- start, finish, and tasks of the NF's own ---

    async def begin(self) -> None:
        """Calls the NF's start(); from then on it may publish, alert and record."""
        self._function._tasks = Tasks(self._task_failed)
        started: Any = self._function.start()
        if asyncio.iscoroutine(started):
            await self._awaited(started)
        self._function._runtime = self._publisher

    async def _finish(self) -> None:
        """As finish(): never raises."""
        if self.is_finished:
            return
        self.is_finished = True
        try:
            summary: Any = self._function.finish()
            if asyncio.iscoroutine(summary):
                summary = await self._awaited(summary)
            self._take_summary(summary)
        except Exception as error:
            self._finish_failed(error)
        self._close()

    def _task_failed(self, name: str, error: Exception) -> None:
        try:
            self._report(name, error, "a task of its own")
        except HandlerFailed as failed:
            self._broken = failed
            self._cancel_handler()


class Tasks:
    """The tasks that an NF began; whoever ends with an error is reported."""

    def __init__(self, failed: Any) -> None:
        """`failed(name, error)` reports it."""
        self._failed = failed
        self._tasks: set[asyncio.Task[Any]] = set()

    def create(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begins a task, and holds it until it is done."""
        if not asyncio.iscoroutine(coroutine):
            raise UsageError(
                f"create_task takes a coroutine, not {coroutine!r:.60}: "
                "write self.create_task(self.refresh())"
            )
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            name = getattr(task.get_coro(), "__name__", "a task")
            self._failed(name, error)


def run_on_uvloop(work: Coroutine[Any, Any, None]) -> None:
    """Runs it to its end on a loop of its own; what else runs there is cancelled then."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(work)
