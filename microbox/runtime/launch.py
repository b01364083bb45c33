"""From a chain to processes that are connected and ready: the first part of a run.

The order is that of `microbox.channel.messages`. Whatever goes wrong here, nothing has run yet:
the caller closes all children and says why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from microbox.chain.additions import next_addition
from microbox.chain.errors import ChainError, ChainErrors
from microbox.chain.model import Chain, ChainNF
from microbox.chain.modules import with_modules
from microbox.chain.plan import Plan, PlannedNF
from microbox.chain.planner import make_plan
from microbox.channel.messages import (
    Area,
    Attach,
    Begin,
    Configure,
    Confined,
    Failed,
    Finished,
    Load,
    Manifest,
    Map,
    Message,
    Neighbour,
    Ready,
    StartWorker,
    WorkerAreas,
)
from microbox.events.catalog import built_in
from microbox.runtime.capture import open_output
from microbox.runtime.counters import AreaError, NFPages, WorkerPages
from microbox.runtime.errors import RunError
from microbox.runtime.log_parts import log_name
from microbox.runtime.record_files import RecordFiles
from microbox.runtime.supervisor import (
    Child,
    ChildError,
    ChildFailed,
    Exit,
    OnLine,
    OnProblem,
)

NF_MODULE = "microbox.nf.process"
WORKER_MODULE = "microbox.runtime.worker_process"
WORKER = "worker"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a child, in seconds."""

    start: float = 60.0  # for each answer before packets flow
    waiting_note: float = 5.0  # without any movement, before it is said who is waited for
    drain: float = 60.0  # without any movement once the input is over
    stop: float = 10.0  # the same once the run is to end early


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a chain, beside what the chain says."""

    capture: int  # descriptor, the caller's
    log_directory: Path  # exists
    packet_limit: int = 0  # 0: all
    patience: Patience = field(default_factory=Patience)


@dataclass(eq=False, slots=True)
class RunningNF:
    """One NF: its place in the plan, its process, what is known of its end."""

    planned: PlannedNF
    child: Child
    pages: NFPages
    confined: Confined
    finished: Finished | None = None
    failure: ChildFailed | None = None
    exit: Exit | None = None  # set when its process is gone
    complaint: str = ""  # why the controller ended it

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.planned.name

    @property
    def outcome(self) -> str:
        """How it ended, in words that follow its name."""
        if self.complaint:
            return self.complaint
        if self.failure:
            return f"failed: {self.failure.failed.error}"
        if self.finished:
            return "finished"
        return str(self.exit) if self.exit else "runs"


@dataclass(eq=False, slots=True)
class Running:
    """All processes of a run, connected."""

    chain: Chain
    plan: Plan
    worker: Child
    areas: WorkerAreas
    pages: WorkerPages
    nfs: list[RunningNF]


class Launcher:
    """Starts the processes of one run. All children that it ever started are in `children`."""

    def __init__(
        self, chain: Chain, options: RunOptions, on_line: OnLine, on_problem: OnProblem
    ) -> None:
        """Starts nothing yet."""
        self._chain = chain
        self._options = options
        self._on_line = on_line
        self._on_problem = on_problem
        self.children: list[Child] = []
        self.confined: dict[str, Confined] = {}  # by the NF's name
        self._record_files = RecordFiles(options.log_directory, on_problem)
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

    def close(self) -> None:
        """When no NF writes any more."""
        self._record_files.remove_empty()

    async def _launch(self) -> Running:
        worker = await self._start_child(WORKER, WORKER_MODULE)
        chain, children, manifests = await self._describe()
        plan = make_plan(chain, manifests, built_in())
        areas = await _all(
            self._configure(plan, nf, child) for nf, child in zip(plan.nfs, children, strict=True)
        )
        return await self._connect(plan, worker, children, areas)

    async def _start_child(self, name: str, module: str) -> Child:
        child = await Child.start(name, module, self._on_line, self._on_problem)
        self.children.append(child)
        return child

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
        child = await self._start_child(nf.name, NF_MODULE)
        with self._record_files.opened(nf.name, log_name(nf)) as descriptors:
            load = Load(
                name=nf.entry,
                source=str(nf.source),
                parameters=nf.parameters,
                on_error=nf.on_error,
                log_directory=str(self._options.log_directory.absolute()),
                log_name=log_name(nf),
                utc=self._chain.utc,
                base=str(self._chain.base),
                sandbox=nf.sandbox,
                has_record_file=bool(descriptors),
            )
            await child.send(load, descriptors)
        patience = self._options.patience.start
        confined, _ = await child.expect(Confined, patience, "being confined")
        manifest, _ = await child.expect(Manifest, patience, f"importing {nf.source}")
        self.confined[nf.name] = confined
        return child, manifest

    # --- memory and neighbours ---

    async def _configure(self, plan: Plan, nf: PlannedNF, child: Child) -> int:
        """The descriptor of the NF's area."""
        await child.send(
            Configure(
                index=nf.index,
                bits=nf.bits,
                shape=nf.shape,
                cut=nf.cut,
                user_types=plan.user_types,
                names=plan.names,
                share=nf.share,
                command_delay=plan.command_delay(nf),
                streams=plan.stream_types(),
                skips=nf.skips,
                loses=nf.loses,
                derives=nf.derives,
            )
        )
        _, fds = await child.expect(Area, self._options.patience.start, "making its shared memory")
        self._descriptors += fds
        return fds[0]

    async def _connect(
        self, plan: Plan, worker: Child, children: list[Child], areas: list[int]
    ) -> Running:
        worker_areas, (log, counters, *frames) = await self._start_worker(plan, worker)
        for nf, area in zip(plan.nfs, areas, strict=True):
            await worker.send(Attach(nf.index, nf.shape, nf.fails_closed, nf.skips), [area])
        await worker.send(plan.subscribe())
        mapping = (
            Map(worker_areas.pool_size, worker_areas.assembled_size),
            [log, *frames],
        )
        introductions: list[list[tuple[Message, list[int]]]] = [
            [mapping, *((each, [areas[each.index]]) for each in neighbours(plan, nf))]
            for nf in plan.nfs
        ]
        await self._introduce_all(plan.chain.nfs, children, introductions)
        nfs = [
            RunningNF(nf, child, _pages(child, area, nf), self.confined[nf.name])
            for nf, child, area in zip(plan.nfs, children, areas, strict=True)
        ]
        try:
            pages = WorkerPages(os.dup(log), plan.log_slots, os.dup(counters))
        except AreaError as error:
            raise ChildError(WORKER, str(error)) from None
        return Running(plan.chain, plan, worker, worker_areas, pages, nfs)

    async def _start_worker(self, plan: Plan, worker: Child) -> tuple[WorkerAreas, list[int]]:
        chain = plan.chain
        capture = self._options.capture
        outputs = [open_output(chain.output, capture)] if chain.output else []
        try:
            await worker.send(
                StartWorker(
                    input=str(chain.input),
                    output=str(chain.output or ""),
                    packet_limit=self._options.packet_limit,
                    log_slots=plan.log_slots,
                    settings=plan.settings,
                    hosts=plan.hosts,
                    modules=plan.worker_modules(),
                    derived=plan.derived,
                ),
                [capture, *outputs],
            )
        finally:
            for fd in outputs:
                os.close(fd)
        areas, fds = await worker.expect(
            WorkerAreas, self._options.patience.start, "opening the capture"
        )
        self._descriptors += fds
        return areas, fds

    async def _introduce_all(
        self,
        nfs: Sequence[ChainNF],
        children: Sequence[Child],
        introductions: Sequence[Sequence[tuple[Message, list[int]]]],
    ) -> None:
        """Side by side. Raises ChainErrors with all parameters that NFs refuse."""
        results = await asyncio.gather(
            *map(self._introduce, children, introductions), return_exceptions=True
        )
        refused = [
            self._error_of(nf, result.failed)
            for nf, result in zip(nfs, results, strict=True)
            if isinstance(result, ChildFailed) and result.failed.parameter
        ]
        if refused:
            raise ChainErrors(refused)
        for result in results:
            _reraised(result)

    async def _introduce(
        self, child: Child, introduction: Sequence[tuple[Message, list[int]]]
    ) -> None:
        """Gives an NF all that it reads, lets it start, waits until it has."""
        for message, fds in introduction:
            await child.send(message, fds)
        await child.send(Begin())
        await child.expect(Ready, self._options.patience.start, "in its start()")


def neighbours(plan: Plan, nf: PlannedNF) -> list[Neighbour]:
    """Whom an NF must know: those it waits for or reads, and those who do so with it."""
    awaited = {one.index: _awaited(plan, one) for one in plan.nfs}
    return [
        Neighbour(
            index=other.index,
            shape=other.shape,
            bits=[bit.bit for bit in other.bits],
            barrier=other.index in awaited[nf.index],
            publishes=other.index in nf.reads,
            skips=other.skips,
        )
        for other in plan.nfs
        if other.index in awaited[nf.index] | {*nf.reads}
        or nf.index in awaited[other.index] | {*other.reads}
    ]


def _awaited(plan: Plan, nf: PlannedNF) -> set[int]:
    """Whom an NF waits for. One that takes batches also knows whom those wait for, since what
    they publish says where its batches end."""
    return _with_those_in_front(plan, nf.barrier) if nf.cut else set(nf.barrier)


def _with_those_in_front(plan: Plan, indexes: Iterable[int]) -> set[int]:
    front = (_with_those_in_front(plan, plan.nfs[index].barrier) for index in indexes)
    return {*indexes}.union(*front)


def _pages(child: Child, area: int, nf: PlannedNF) -> NFPages:
    try:
        return NFPages(os.dup(area), nf.shape)
    except AreaError as error:
        raise ChildError(child.name, str(error)) from None


async def _all(tasks: Iterable[Awaitable[Result]]) -> list[Result]:
    """All results, or the first error once all have come to an end."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return [_reraised(result) for result in results]


def _reraised(result: Result | BaseException) -> Result:
    if isinstance(result, BaseException):
        raise result
    return result
