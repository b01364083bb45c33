"""One NF's process, from its start to the point where it may take its place in the chain."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from microbox.chain.model import Chain, ChainNF
from microbox.chain.plan import Plan, PlannedNF
from microbox.channel.async_channel import AsyncChannel
from microbox.channel.messages import (
    Area,
    Begin,
    Configure,
    Confined,
    Load,
    Manifest,
    Message,
    Problem,
    Ready,
    WorkerAreas,
)
from microbox.runtime.accounts.counters import AreaError, NFPages
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.observer import Speaker
from microbox.runtime.outputs.log_parts import log_name, writes_part
from microbox.runtime.outputs.record_files import RecordFiles
from microbox.runtime.partition import WHOLE, Partition
from microbox.runtime.processes.answers import Answers
from microbox.runtime.processes.supervisor import Child, ChildError, Process
from microbox.runtime.running import Running, RunOptions

NF_MODULE = "microbox.nf.process"

OnLine = Callable[[Speaker, str, str], None]
"""Called with who printed, "stdout" or "stderr", and the line."""
OnProblem = Callable[[Speaker, Problem], None]
"""Called with who reported, and what."""


class NFStarter:
    """Starts NFs. All children that it ever started are in `children`."""

    def __init__(self, options: RunOptions, on_line: OnLine, on_problem: OnProblem) -> None:
        """Starts nothing yet."""
        self._options = options
        self._on_line = on_line
        self._on_problem = on_problem
        self.record_files = RecordFiles(
            options.log_directory, lambda name, problem: on_problem(Speaker(name), problem)
        )
        self.children: list[Child] = []
        self._logs: dict[Child, str] = {}  # names of their files
        self._sources: dict[Child, bytes] = {}  # digests of what they were to load
        self.confined: dict[str, Confined] = {}  # by the NF's name: all its processes are alike

    def close(self) -> None:
        """When no NF writes any more."""
        self.record_files.close()

    async def start(self, name: str, module: str, speaker: Speaker) -> Child:
        """Starts `python -P -m module`. `speaker`: who is said to print and report what the process
        does."""
        child = await Child.start(
            name,
            module,
            lambda _, stream, line: self._on_line(speaker, stream, line),
            lambda _, problem: self._on_problem(speaker, problem),
        )
        child.speaker = speaker
        self.children.append(child)
        return child

    def take_in(self, name: str, process: Process, channel: AsyncChannel, pidfd: int) -> Child:
        """A process that came by itself."""
        child = Child(name, process, channel, pidfd, lambda _, problem: tell(problem))
        child.speaker = Speaker(name)  # until it has said which NF it is
        child.watch_exit()

        def tell(problem: Problem) -> None:
            self._on_problem(child.speaker, problem)

        self.children.append(child)
        return child

    async def dismiss(self, child: Child) -> None:
        """Ends a process that is not needed."""
        await child.close()
        self.children.remove(child)
        self._sources.pop(child, None)
        log = self._logs.pop(child, "")
        if log not in self._logs.values():
            self.record_files.release(log)

    async def load(self, chain: Chain, nf: ChainNF, partition: Partition) -> tuple[Child, Manifest]:
        """A process that has loaded the NF's file, and what the NF is."""
        child = await self.start(
            partition.name_of(nf.name), NF_MODULE, Speaker(nf.name, partition.worker)
        )
        return child, await self.describe(child, chain, nf, partition)

    def has_loaded(self, child: Child, source: Path) -> bool:
        """True where that file is what the child has loaded, to the byte."""
        return self._sources.get(child) == _digest(source)

    async def start_again(
        self, running: Running, lane: Lane, nf: RunningNF, said: ChainNF | None = None
    ) -> RunningNF:
        """Another process of an NF, ready to take its place. `said`: what the chain file says of it
        now, if that is otherwise. Raises ChildError."""
        name, partition = nf.planned.name, lane.partition
        chain_nf = said or next(one for one in running.plan.chain.nfs if one.name == name)
        if not nf.child.is_alive:
            self.cut_log(chain_nf, partition)
        child, manifest = await self.load(running.plan.chain, chain_nf, partition)
        try:
            check_is_same(child, manifest, nf.planned)
            return await self.make_ready(lane, running.plan, nf.planned, child)
        except BaseException:
            child.kill()
            raise

    async def all_started_again(
        self,
        running: Running,
        members: Sequence[tuple[Lane, RunningNF]],
        changed: Mapping[str, ChainNF] | None = None,
    ) -> list[RunningNF]:
        """A new process for each, started side by side; `changed`: what the chain file says of
        some now, by name. Raises ChildError, OSError, with none of them left."""
        said = changed or {}
        starting = (
            self.start_again(running, lane, nf, said.get(nf.planned.name)) for lane, nf in members
        )
        results = await asyncio.gather(*starting, return_exceptions=True)
        started = [one for one in results if isinstance(one, RunningNF)]
        for failed in results:
            if isinstance(failed, BaseException):
                for nf in started:
                    nf.child.kill()
                raise failed
        return started

    def cut_log(self, nf: ChainNF, partition: Partition) -> None:
        """Cuts off the line that the NF's process was killed in, where it was."""
        self.record_files.cut(log_name(nf, partition))

    async def make_ready(self, lane: Lane, plan: Plan, nf: PlannedNF, child: Child) -> RunningNF:
        """An NF that waits for its place in a chain that runs. Raises ChildError."""
        area = await self.configure(plan, nf, child)
        ready = running_nf(nf, child, area, self.confined[nf.name])
        try:
            await self.begin(child, lane.areas, lane.shared, waits=True)
        except BaseException:
            ready.close()
            raise
        return ready

    async def describe(
        self,
        child: Child,
        chain: Chain,
        nf: ChainNF,
        partition: Partition = WHOLE,
        base: Path | None = None,
    ) -> Manifest:
        """Lets a process load the NF's file. `base`: what relative paths among its parameters count
        from, where that is not the chain's folder."""
        self._logs[child] = file = log_name(nf, partition)
        self._sources[child] = _digest(nf.source)
        with self.record_files.opened(nf.name, file) as descriptors:
            load = Load(
                name=nf.entry,
                source=str(nf.source),
                parameters=nf.parameters,
                on_error=nf.on_error,
                log_directory=str(self._options.log_directory.absolute()),
                log_name=file,
                writes_part=writes_part(nf, partition),
                log_format=chain.log_format,
                utc=chain.utc,
                base=str(base or chain.base_of(nf.entry)),
                sandbox=nf.sandbox,
                has_record_file=bool(descriptors),
                memory=nf.supervision.memory,
            )
            await child.send(load, descriptors)
        patience = self._options.patience.start
        confined, _ = await child.expect(Confined, patience, "being confined")
        manifest, _ = await child.expect(Manifest, patience, f"importing {nf.source}")
        self.confined[nf.name] = confined
        return manifest

    async def configure(self, plan: Plan, nf: PlannedNF, child: Child) -> int:
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
        return fds[0]

    async def begin(
        self,
        child: Child,
        areas: WorkerAreas,
        shared: Sequence[int],
        neighbours: Sequence[tuple[Message, list[int]]] = (),
        *,
        waits: bool = False,
    ) -> None:
        """Gives an NF all that it reads, lets it start, waits until it has. `waits`: it reads
        nothing before it is told to begin once more."""
        await child.send(areas.mapping(), shared)
        for message, fds in neighbours:
            await child.send(message, fds)
        await child.send(Begin(waits))
        await child.expect(Ready, self._options.patience.start, "in its start()")


def _digest(source: Path) -> bytes:
    """b"" where there is no such file, which the NF's process says."""
    try:
        return hashlib.sha256(source.read_bytes()).digest()
    except OSError:
        return b""


def running_nf(nf: PlannedNF, child: Child, area: int, confined: Confined) -> RunningNF:
    """An NF that has made its area. Takes `area`. Raises ChildError where that is not what it
    should be."""
    try:
        pages = NFPages(os.dup(area), nf.shape)
    except AreaError as error:
        os.close(area)
        raise ChildError(child.name, str(error)) from None
    return RunningNF(nf, child, area, pages, Answers(child.name), confined)


def check_is_same(child: Child, manifest: Manifest, nf: PlannedNF) -> None:
    """Raises ChildError where what was loaded cannot take the NF's place."""
    if not is_same_in_chain(manifest, nf.manifest):
        raise ChildError(
            child.name, "is another NF now: what it subscribes to, publishes or may do has changed"
        )


def is_same_in_chain(one: Manifest, other: Manifest) -> bool:
    """True where the one NF can take the other's place in a plan."""
    return _place(one) == _place(other)


def _place(manifest: Manifest) -> Manifest:
    """The manifest without what only people read."""
    return replace(
        manifest,
        class_name="",
        file="",
        doc="",
        parameters=[],
        handlers=[replace(each, line=0) for each in manifest.handlers],
        timers=[replace(each, line=0) for each in manifest.timers],
        declares=[replace(each, line=0, doc="") for each in manifest.declares],
    )
