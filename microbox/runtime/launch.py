"""From a chain to processes that are connected and ready: the first part of a run.

The order is that of `microbox.channel.messages`. Whatever goes wrong here, nothing has run yet:
the caller closes all children and says why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass

from microbox.chain.additions import next_addition
from microbox.chain.errors import ChainError, ChainErrors
from microbox.chain.model import Chain, ChainNF
from microbox.chain.modules import with_modules
from microbox.chain.plan import Plan, PlannedNF
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
from microbox.runtime.accounts.counters import AreaError, WorkerPages
from microbox.runtime.errors import RunError
from microbox.runtime.inputs.capture import open_output
from microbox.runtime.lane import Lane
from microbox.runtime.membership.neighbours import neighbours
from microbox.runtime.nf_start import NFStarter, check_is_same, is_same_in_chain, running_nf
from microbox.runtime.observer import Speaker
from microbox.runtime.outputs.output_parts import open_part
from microbox.runtime.partition import Partition, partitions
from microbox.runtime.processes.answers import Answers
from microbox.runtime.processes.supervisor import Child, ChildError, ChildFailed
from microbox.runtime.running import Running, RunOptions
from microbox.runtime.side_by_side import all_of, reraised

WORKER_MODULE = "microbox.runtime.processes.worker_process"


@dataclass(frozen=True, slots=True)
class Loaded:
    """An NF that is loaded: its processes, one for each worker, and what they say it is."""

    children: list[Child]
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Crew:
    """The processes that are to be one lane."""

    partition: Partition
    worker: Child
    nfs: list[Child]
    output: list[int]  # descriptor of what the worker is to write; [] where there is no output
    packets_before: int | None = None  # that a worker before has handled; None: there was none


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
            self._close_descriptors()

    def _close_descriptors(self) -> None:
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors.clear()

    async def _launch(self) -> Running:
        parts = partitions(self._chain.workers)
        workers = await all_of(self._worker(one) for one in parts)
        chain, loaded = await self._describe(parts)
        plan = make_plan(chain, [nf.manifest for nf in loaded], built_in())
        output = self._open_output()
        crews = [
            Crew(part, worker, [nf.children[part.index] for nf in loaded], self._part(part, output))
            for part, worker in zip(parts, workers, strict=True)
        ]
        lanes = await all_of(self._lane(plan, crew) for crew in crews)
        return Running(plan.chain, self._options, plan, lanes, list(map(os.dup, output)))

    async def _worker(self, part: Partition) -> Child:
        return await self._starter.start(
            part.worker, WORKER_MODULE, Speaker(part.worker, part.worker, is_nf=False)
        )

    async def replace(self, plan: Plan, lost: Lane) -> Lane:
        """Fresh processes that go on behind the packets of a lane whose worker is gone, and whose
        NFs have ended. Raises ChildError, ChainErrors, OSError."""
        first = len(self._starter.children)
        try:
            worker = await self._worker(lost.partition)
            loading = (self._load_again(plan, nf, lost.partition) for nf in plan.nfs)
            nfs = await all_of(loading)
            crew = Crew(lost.partition, worker, nfs, lost.outputs, lost.pages.last_packet)
            lane = await self._lane(plan, crew)
        except BaseException:
            for child in self._starter.children[first:]:
                child.kill()
            raise
        finally:
            self._close_descriptors()
        lane.output_before = lost.output_left or lost.output_before
        return lane

    async def _load_again(self, plan: Plan, nf: PlannedNF, partition: Partition) -> Child:
        chain_nf = next(one for one in plan.chain.nfs if one.name == nf.name)
        self._starter.cut_log(chain_nf, partition)
        child, manifest = await self._starter.load(plan.chain, chain_nf, partition)
        check_is_same(child, manifest, nf)
        return child

    def _open_output(self) -> list[int]:
        """A descriptor of the output, empty; [] where there is to be none."""
        if self._chain.output is None:
            return []
        fd = open_output(self._chain.output, self._options.capture.fd)
        self._descriptors.append(fd)
        return [fd]

    def _part(self, partition: Partition, output: list[int]) -> list[int]:
        """What one worker writes: the output itself where it is alone."""
        if partition.is_whole or self._chain.output is None:
            return output
        fd = open_part(self._chain.output)
        self._descriptors.append(fd)
        return [fd]

    async def _lane(self, plan: Plan, crew: Crew) -> Lane:
        areas = await all_of(
            self._starter.configure(plan, nf, child)
            for nf, child in zip(plan.nfs, crew.nfs, strict=True)
        )
        self._descriptors += areas
        return await self._connect(plan, crew, areas)

    # --- what the NFs are ---

    async def _describe(self, parts: list[Partition]) -> tuple[Chain, list[Loaded]]:
        """The chain with all that it needs, and for each of its NFs what is loaded of it."""
        chain = await asyncio.to_thread(with_modules, self._chain)
        loaded = await self._load_all(chain.nfs, parts)
        while True:
            manifests = [nf.manifest for nf in loaded]
            addition = next_addition(chain, manifests, built_in())
            if addition is None:
                return chain, loaded
            loaded[addition.before : addition.before] = await self._load_all([addition.nf], parts)
            chain = chain.inserting(addition.before, addition.nf)

    async def _load_all(self, nfs: Sequence[ChainNF], parts: list[Partition]) -> list[Loaded]:
        """Loads them side by side. Raises ChainErrors with what is wrong with any of them."""
        loading = (self._load(nf, parts) for nf in nfs)
        results = await asyncio.gather(*loading, return_exceptions=True)
        errors = [
            self._error_of(nf, result.failed)
            for nf, result in zip(nfs, results, strict=True)
            if isinstance(result, ChildFailed)
        ]
        if errors:
            raise ChainErrors(errors)
        return [reraised(result) for result in results]

    def _error_of(self, nf: ChainNF, failed: Failed) -> ChainError:
        message = f"{nf.name}: {failed.error}"
        position = nf.value_positions.get(failed.parameter, nf.position)
        file = self._chain.file
        return ChainError.at(file, position, message, failed.hint, failed.traceback)

    async def _load(self, nf: ChainNF, parts: list[Partition]) -> Loaded:
        processes = await all_of(self._starter.load(self._chain, nf, part) for part in parts)
        manifest = processes[0][1]
        for child, other in processes:
            if not is_same_in_chain(manifest, other):
                raise ChildError(child.name, "is another NF there than for the first worker")
        return Loaded([child for child, _ in processes], manifest)

    # --- memory and neighbours ---

    async def _connect(self, plan: Plan, crew: Crew, areas: list[int]) -> Lane:
        worker, children = crew.worker, crew.nfs
        worker_areas, (log, counters, *frames) = await self._start_worker(plan, crew)
        for nf, area in zip(plan.nfs, areas, strict=True):
            attach = Attach(nf.index, nf.shape, nf.fails_closed, nf.skips, nf.is_shadow)
            await worker.send(attach, [area])
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
            partition=crew.partition,
            worker=worker,
            answers=Answers(worker.name),
            areas=worker_areas,
            shared=[os.dup(fd) for fd in shared],
            counters=os.dup(counters),
            outputs=[os.dup(fd) for fd in crew.output],
            pages=_worker_pages(crew, plan, log, counters),
            nfs=nfs,
        )

    async def _start_worker(self, plan: Plan, crew: Crew) -> tuple[WorkerAreas, list[int]]:
        chain, capture = plan.chain, self._options.capture
        await crew.worker.send(
            StartWorker(
                input=str(chain.input),
                output=str(chain.output or ""),
                packet_limit=self._options.packet_limit,
                pace=self._options.pace,
                log_slots=plan.log_slots,
                settings={**plan.settings, **crew.partition.settings()},
                hosts=plan.hosts,
                modules=plan.worker_modules(),
                derived=plan.derived,
                continues=crew.packets_before is not None,
                packets_before=crew.packets_before or 0,
                editors=plan.editors,
                window=0 if capture.head is None else chain.input_window,
            ),
            [*capture.descriptors, *crew.output],
        )
        areas, fds = await crew.worker.expect(
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
            reraised(result)


def _worker_pages(crew: Crew, plan: Plan, log: int, counters: int) -> WorkerPages:
    before = crew.packets_before or 0
    try:
        return WorkerPages(os.dup(log), plan.log_slots, os.dup(counters), before)
    except AreaError as error:
        raise ChildError(crew.worker.name, str(error)) from None
