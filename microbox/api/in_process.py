"""A chain within this process: worker and NFs are threads, but one NF, which the caller leads.

The plan, the bus, the worker and the runners are those of `microbox run`; nothing is confined, no
process is started, no file is written. When the context ends, all threads have, and all memory is
given back, however far the run is.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from microbox._core import ffi, lib
from microbox.chain.additions import next_addition
from microbox.chain.errors import did_you_mean
from microbox.chain.model import Chain, ChainNF, Input
from microbox.chain.plan import Plan, PlannedNF
from microbox.chain.planner import make_plan
from microbox.chain.sources import built_in_names, built_in_source, is_path, no_built_in
from microbox.chain.stack_settings import StackSettings
from microbox.channel.channel import Channel, ChannelClosed
from microbox.channel.messages import (
    Attach,
    Begin,
    Configure,
    Detach,
    Done,
    Failed,
    HostNetwork,
    Message,
    Problem,
    StartWorker,
    Stop,
    WorkerAreas,
)
from microbox.events.catalog import built_in
from microbox.nf.errors import LoadError
from microbox.nf.function import NetworkFunction
from microbox.nf.load import load_class, make_instance
from microbox.nf.manifest import manifest_of
from microbox.nf.problems import HandlerFailed
from microbox.nf.reader import Reader
from microbox.nf.records import RecordFile
from microbox.nf.running import AnyRunner, runner_of
from microbox.runtime.errors import RunError
from microbox.runtime.membership.neighbours import neighbours
from microbox.runtime.processes import worker_process

AnyNF = type[NetworkFunction] | str | Path
"""A class, the name of a built-in NF, or the path of a file."""

LOG_SLOTS = 16_384
POLL_NS = 10_000_000
PATIENCE_SECONDS = 60


@dataclass(slots=True)
class Unit:
    """One NF of the chain that is run."""

    entry: ChainNF
    owner: type[NetworkFunction]
    runner: AnyRunner | None = None
    function: NetworkFunction | None = None
    failure: BaseException | None = None


def unit_of(nf: AnyNF, parameters: Mapping[str, Any]) -> Unit:
    """The NF as an entry of a chain. Raises LoadError."""
    if isinstance(nf, type):
        owner, source = nf, Path(manifest_of(nf).file)
    else:
        source = _source_of(nf)
        owner = load_class(source)
    name = source.stem if not isinstance(nf, type) else owner.__name__
    return Unit(ChainNF(name, source, dict(parameters)), owner)


def _source_of(nf: str | Path) -> Path:
    if isinstance(nf, Path) or is_path(nf):
        return Path(nf)
    source = built_in_source(nf)
    if source is None:
        hint = did_you_mean(nf, built_in_names())
        raise LoadError(f"{no_built_in(nf)}{hint and f'; {hint}'}")
    return source


class Settings(Protocol):
    """Of the stack."""

    def as_settings(self) -> dict[str, int]:
        """As StackSettings.as_settings."""

    def host_networks(self) -> Sequence[HostNetwork]:
        """As StackSettings.host_networks."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a chain, beside what its NFs are."""

    on_error: str = "stop"
    settings: Settings = field(default_factory=StackSettings)
    packet_limit: int = 0  # 0: all
    output: int | None = None  # descriptor of an empty file, the caller's
    logs: Path | None = None  # directory for what NFs record; None: nowhere


class InProcess:
    """One run, a context. `led` is the NF whose handlers run in the caller's thread."""

    def __init__(
        self, units: Sequence[Unit], led: Unit, capture: int, name: str, options: Options
    ) -> None:
        """Plans, and starts nothing. `capture` is a descriptor, the caller's, and `name` what it
        is called. Raises ChainErrors, LoadError."""
        self.led = led
        self.units = list(units)
        self.problems: list[Problem] = []
        self.areas: WorkerAreas | None = None
        self._capture = capture
        self._name = name
        self._options = options
        self._opened = ExitStack()
        self._threads: list[threading.Thread] = []
        self._cancelled = threading.Event()
        self._worker_failure = ""
        self._worker: Channel | None = None
        self._counters_fd = -1
        self._is_led = False
        self.plan = self._make_plan()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- the plan ---

    def _make_plan(self) -> Plan:
        """With all NFs that the given ones need."""
        settings = self._options.settings
        while True:
            chain = Chain(
                "(within this process)",
                Input((Path(self._name),)),
                None,
                tuple(unit.entry for unit in self.units),
                settings=settings.as_settings(),
                log_slots=LOG_SLOTS,
                hosts=tuple(settings.host_networks()),
            )
            manifests = [manifest_of(unit.owner) for unit in self.units]
            addition = next_addition(chain, manifests, built_in())
            if addition is None:
                return make_plan(chain, manifests, built_in())
            self.units.insert(addition.before, Unit(addition.nf, load_class(addition.nf.source)))

    # --- the start ---

    def _start(self) -> None:
        worker = self._worker = self._start_worker()
        self._connect(worker)
        worker.send(Begin())
        self._threads = [
            threading.Thread(target=self._run, args=(unit,), name=unit.entry.name, daemon=True)
            for unit in self.units
            if unit is not self.led
        ]
        for thread in self._threads:
            thread.start()

    def _start_worker(self) -> Channel:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel = self._opened.enter_context(closing(Channel(ours)))
        thread = threading.Thread(
            target=self._serve, args=(Channel(theirs),), name="worker", daemon=True
        )
        thread.start()
        self._opened.callback(thread.join, PATIENCE_SECONDS)
        self._opened.callback(self._stop_worker, channel)
        options = self._options
        outputs = [] if options.output is None else [options.output]
        channel.send(
            StartWorker(
                input=self._name,
                output="output" if outputs else "",
                packet_limit=options.packet_limit,
                log_slots=self.plan.log_slots,
                settings=self.plan.settings,
                hosts=self.plan.hosts,
                derived=self.plan.derived,
                editors=self.plan.editors,
            ),
            [self._capture, *outputs],
        )
        return channel

    def _serve(self, channel: Channel) -> None:
        """The worker's thread: what its process would do."""
        with closing(channel):
            try:
                worker_process.serve(channel)
            except (worker_process.Stopped, ChannelClosed):
                return
            except Exception as error:
                self._worker_failure = str(error)
                channel.send(Failed(str(error)))
                self.cancel()

    def _connect(self, worker: Channel) -> None:
        areas: WorkerAreas
        areas, fds = self._receive(worker, WorkerAreas)
        self.areas = areas
        for fd in fds:
            self._opened.callback(os.close, fd)
        log, self._counters_fd, *frames = fds
        readers = [self._reader(planned) for planned in self.plan.nfs]
        for planned, reader in zip(self.plan.nfs, readers, strict=True):
            worker.send(
                Attach(planned.index, planned.shape, planned.fails_closed), [reader.area_fd]
            )
            reader.map_log(log)
            reader.map_pool(areas.mapping(), *frames)
            for neighbour in neighbours(self.plan, planned):
                reader.map_neighbour(neighbour, readers[neighbour.index].area_fd)
        worker.send(self.plan.subscribe())
        for unit, planned, reader in zip(self.units, self.plan.nfs, readers, strict=True):
            self._make_runner(unit, planned, reader)

    def _configure(self, planned: PlannedNF) -> Configure:
        return Configure(
            planned.index,
            planned.bits,
            planned.shape,
            planned.cut,
            self.plan.user_types,
            self.plan.names,
            self.plan.command_delay(planned),
            self.plan.stream_types(),
            derives=planned.derives,
        )

    def _reader(self, planned: PlannedNF) -> Reader:
        return self._opened.enter_context(closing(Reader(self._configure(planned))))

    def _make_runner(self, unit: Unit, planned: PlannedNF, reader: Reader) -> None:
        logs = self._options.logs
        unit.function = make_instance(unit.owner, planned.entry, planned.parameters)
        unit.runner = runner_of(
            unit.function,
            reader,
            self.plan.catalog,
            self._configure(planned),
            on_error=self._options.on_error,
            tell=self.problems.append,
            log=RecordFile(logs / f"{planned.index}.jsonl") if logs else None,
        )

    # --- running ---

    def step(self, timeout_ns: int = POLL_NS) -> bool:
        """Lets the led NF handle what there is, waiting up to `timeout_ns` for it. False when it
        has seen all. Raises RunError where the run cannot go on."""
        runner = self.led.runner
        assert runner is not None
        if self._cancelled.is_set():
            self.raise_failures()
        try:
            if not self._is_led:
                self._is_led = True
                runner.start()
            runner.run_once(timeout_ns)
        except HandlerFailed as failed:
            self.led.failure = failed
            self.raise_failures()
        return not runner.is_finished

    def lead(self) -> None:
        """Runs the led NF to its end; what it raises is kept for `raise_failures`."""
        self._run(self.led)

    def _run(self, unit: Unit) -> None:
        assert unit.runner is not None
        try:
            if unit.runner.is_async:
                self._run_async(unit.runner)
                return
            unit.runner.start()
            while not unit.runner.is_finished and not self._cancelled.is_set():
                unit.runner.run_once(POLL_NS)
        except BaseException as error:
            unit.failure = error
            self.cancel()
            if not isinstance(error, Exception):
                raise

    def _run_async(self, runner: AnyRunner) -> None:
        from microbox.nf.async_runner import AsyncRunner, run_on_uvloop

        async def work() -> None:
            assert isinstance(runner, AsyncRunner)
            await runner.begin()
            await runner.run(POLL_NS, self._stop_if_cancelled)

        run_on_uvloop(work())

    def _stop_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise RunError("cancelled")

    # --- the end ---

    def cancel(self) -> None:
        """Ends all NFs soon, whatever they wait for. Any thread may call it."""
        self._cancelled.set()
        for unit in self.units:
            if unit.runner is not None:
                unit.runner.cancel()

    def finish(self) -> Done:
        """What the worker said last, when all NFs have seen the end. Raises RunError."""
        self._join()
        self.raise_failures()
        assert self._worker is not None
        done: Done
        done, _ = self._receive(self._worker, Done)
        return done

    def raise_failures(self) -> None:
        """Raises RunError with the first thing that went wrong, if anything did."""
        for unit in self.units:
            if isinstance(unit.failure, HandlerFailed):
                problem = unit.failure.problem
                message = f"{unit.entry.name}: {problem.error}\n{problem.traceback}"
                raise RunError(message) from unit.failure
            if unit.failure is not None:
                raise RunError(f"{unit.entry.name}: {unit.failure}") from unit.failure
        if self._worker_failure:
            raise RunError(self._worker_failure)

    def close(self) -> None:
        """Ends whatever still runs and gives everything back."""
        self.cancel()
        self._join()
        if any(thread.is_alive() for thread in self._threads):
            return  # a handler that never returns reads memory that therefore has to stay
        self._opened.close()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _stop_worker(self, channel: Channel) -> None:
        """Ends the worker however far it is: no NF holds anything up any more."""
        try:
            for planned in self.plan.nfs:
                channel.send(Detach(planned.index, 0))
            channel.send(Stop())
        except ChannelClosed:
            return

    @staticmethod
    def _receive(worker: Channel, kind: type[Message]) -> tuple[Any, list[int]]:
        if not worker.poll(PATIENCE_SECONDS):
            raise RunError(f"the worker has not said {kind.__name__} for {PATIENCE_SECONDS} s")
        message, fds = worker.receive()
        if isinstance(message, Failed):
            raise RunError(message.error)
        if not isinstance(message, kind):
            raise RunError(f"the worker said {type(message).__name__}, not {kind.__name__}")
        return message, fds

    # --- what was counted ---

    def counters(self) -> dict[str, int]:
        """Of the stack."""
        area = ffi.new("struct mb_area *")
        status = lib.mb_area_map(area, self._counters_fd, lib.mb_worker_counters_size())
        if status < 0:
            raise RunError(f"the counters cannot be read: {os.strerror(-status)}")
        try:
            page = ffi.cast("struct mb_counter_page *", area.base)
            counters = page.copies[page.current]
            fields = ffi.typeof("struct mb_stack_counters").fields
            return {
                name: int(getattr(counters, name))
                for name, one in fields
                if one.type.kind == "primitive"
            }
        finally:
            lib.mb_area_destroy(area)
