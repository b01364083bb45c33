"""From a chain to processes that are connected and ready: the first part of a run.

The order is that of `microbox.channel.messages`. Whatever goes wrong here, nothing has run yet:
the caller closes all children and says why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

from microbox.chain.additions import next_addition
from microbox.chain.errors import ChainError, ChainErrors
from microbox.chain.model import Chain, ChainNF
from microbox.chain.modules import with_modules
from microbox.chain.plan import Plan
from microbox.chain.planner import make_plan
from microbox.channel.messages import (
    Attach,
    Failed,
    Manifest,
    Message,
    StartWorker,
    WorkerAreas,
)
from microbox.events.catalog import built_in
from microbox.runtime.answers import Answers
from microbox.runtime.capture import open_output
from microbox.runtime.counters import AreaError, WorkerPages
from microbox.runtime.errors import RunError
from microbox.runtime.lane import WORKER, Lane
from microbox.runtime.neighbours import neighbours
from microbox.runtime.nf_start import NFStarter, running_nf
from microbox.runtime.running import Running, RunOptions
from microbox.runtime.supervisor import Child, ChildError, ChildFailed

WORKER_MODULE = "microbox.runtime.worker_process"

Result = TypeVar("Result")


class Launcher:
    """Starts the processes of one run."""

    def __init__(self, chain: Chain, options: RunOptions, starter: NFStarter) -> None:
        """Starts nothing yet."""
        self._chain = chain
        self._options = options
        self._starter = starter
        self._descriptors: list[int] = []  # of areas, closed when all that need them have them

    async def launch(self) -> Running:
        """All NFs have called start(). Raises ChainErrors, RunError."""
        try:
            return await self._launch()
        except ChildError as error:
            detail = error.failed.traceback if isinstance(error, ChildFailed) else ""
            hint = error.failed.hint if isinstance(error, ChildFailed) else ""
            message = f"{error}; {hint}" if hint else str(error)
            raise RunError(f"the chain does not start: {message}", detail=detail) from error
        finally:
            for fd in self._descriptors:
                os.close(fd)

    async def _launch(self) -> Running:
        worker = await self._starter.start(WORKER, WORKER_MODULE)
        chain, children, manifests = await self._describe()
        plan = make_plan(chain, manifests, built_in())
        areas = await _all(
            self._starter.configure(plan, nf, child)
            for nf, child in zip(plan.nfs, children, strict=True)
        )
        self._descriptors += areas
        lane = await self._connect(plan, worker, children, areas)
        return Running(plan.chain, self._options, plan, [lane])

    # --- what the NFs are ---

    async def _describe(self) -> tuple[Chain, list[Child], list[Manifest]]:
        """The chain with all that it needs, an NF process for each of its NFs, and manifests."""
        chain = await asyncio.to_thread(with_modules, self._chain)
        loaded = await self._load_all(chain.nfs)
        while True:
            manifests = [manifest for _, manifest in loaded]
            addition = next_addition(chain, manifests, built_in())
            if addition is None:
                break
            loaded[addition.before : addition.before] = await self._load_all([addition.nf])
            chain = chain.inserting(addition.before, addition.nf)
        return chain, [child for child, _ in loaded], [manifest for _, manifest in loaded]

    async def _load_all(self, nfs: Sequence[ChainNF]) -> list[tuple[Child, Manifest]]:
        """Loads them side by side. Raises ChainErrors with what is wrong with any of them."""
        results = await asyncio.gather(*map(self._load, nfs), return_exceptions=True)
        errors = [
            self._error_of(nf, result.failed)
            for nf, result in zip(nfs, results, strict=True)
            if isinstance(result, ChildFailed)
        ]
        if errors:
            raise ChainErrors(errors)
        return [_reraised(result) for result in results]

    def _error_of(self, nf: ChainNF, failed: Failed) -> ChainError:
        message = f"{nf.name}: {failed.error}"
        position = nf.value_positions.get(failed.parameter, nf.position)
        place = (self._chain.file, *position)
        return ChainError(*place, message, failed.hint, failed.traceback)

    async def _load(self, nf: ChainNF) -> tuple[Child, Manifest]:
        return await self._starter.load(self._chain, nf)

    # --- memory and neighbours ---

    async def _connect(
        self, plan: Plan, worker: Child, children: list[Child], areas: list[int]
    ) -> Lane:
        outputs = self._open_outputs(plan.chain)
        worker_areas, (log, counters, *frames) = await self._start_worker(plan, worker, outputs)
        for nf, area in zip(plan.nfs, areas, strict=True):
            await worker.send(Attach(nf.index, nf.shape, nf.fails_closed, nf.skips), [area])
        await worker.send(plan.subscribe())
        shared = [log, *frames]
        introductions: list[list[tuple[Message, list[int]]]] = [
            [(each, [areas[each.index]]) for each in neighbours(plan, nf)] for nf in plan.nfs
        ]
        await self._begin_all(
            plan.chain.nfs,
            (
                self._starter.begin(child, worker_areas, shared, introduction)
                for child, introduction in zip(children, introductions, strict=True)
            ),
        )
        nfs = [
            running_nf(nf, child, os.dup(area), self._starter.confined[nf.name])
            for nf, child, area in zip(plan.nfs, children, areas, strict=True)
        ]
        return Lane(
            worker=worker,
            answers=Answers(WORKER),
            areas=worker_areas,
            shared=[os.dup(fd) for fd in shared],
            outputs=[os.dup(fd) for fd in outputs],
            pages=_worker_pages(plan, log, counters),
            nfs=nfs,
        )

    def _open_outputs(self, chain: Chain) -> list[int]:
        outputs = [open_output(chain.output, self._options.capture)] if chain.output else []
        self._descriptors += outputs
        return outputs

    async def _start_worker(
        self, plan: Plan, worker: Child, outputs: Sequence[int]
    ) -> tuple[WorkerAreas, list[int]]:
        chain = plan.chain
        await worker.send(
            StartWorker(
                input=str(chain.input),
                output=str(chain.output or ""),
                packet_limit=self._options.packet_limit,
                pace=self._options.pace,
                log_slots=plan.log_slots,
                settings=plan.settings,
                hosts=plan.hosts,
                modules=plan.worker_modules(),
                derived=plan.derived,
            ),
            [self._options.capture, *outputs],
        )
        areas, fds = await worker.expect(
            WorkerAreas, self._options.patience.start, "opening the capture"
        )
        self._descriptors += fds
        return areas, fds

    async def _begin_all(self, nfs: Sequence[ChainNF], begun: Iterable[Awaitable[None]]) -> None:
        """Side by side. Raises ChainErrors with all parameters that NFs refuse."""
        results = await asyncio.gather(*begun, return_exceptions=True)
        refused = [
            self._error_of(nf, result.failed)
            for nf, result in zip(nfs, results, strict=True)
            if isinstance(result, ChildFailed) and result.failed.parameter
        ]
        if refused:
            raise ChainErrors(refused)
        for result in results:
            _reraised(result)


def _worker_pages(plan: Plan, log: int, counters: int) -> WorkerPages:
    try:
        return WorkerPages(os.dup(log), plan.log_slots, os.dup(counters))
    except AreaError as error:
        raise ChildError(WORKER, str(error)) from None


async def _all(tasks: Iterable[Awaitable[Result]]) -> list[Result]:
    """All results, or the first error once all have come to an end."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return [_reraised(result) for result in results]


def _reraised(result: Result | BaseException) -> Result:
    if isinstance(result, BaseException):
        raise result
    return result
