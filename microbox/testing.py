"""One NF on a capture, inside pytest, without a daemon.

    def test_telnet_is_refused():
        result = run_nf(BlockTelnet, "telnet.pcap")
        assert result.verdicts[DROP] == 1

All is as in a run: the plan, the bus, the worker, the runners are the real ones. The worker and all
NFs but the last run in threads; the last one, the NF under test, in the calling thread, where pdb
and coverage see it.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from microbox._core import ffi, lib
from microbox.chain.additions import next_addition
from microbox.chain.model import Chain, ChainNF
from microbox.chain.plan import Plan, PlannedNF
from microbox.chain.planner import make_plan
from microbox.chain.sources import built_in_source, is_path
from microbox.chain.stack_settings import StackSettings
from microbox.channel.channel import Channel, ChannelClosed
from microbox.channel.messages import (
    Attach,
    Begin,
    Configure,
    Detach,
    Done,
    Failed,
    Message,
    Problem,
    StartWorker,
    Stop,
    WorkerAreas,
)
from microbox.events.catalog import built_in
from microbox.nf.decorators import on
from microbox.nf.event import Event
from microbox.nf.function import NetworkFunction
from microbox.nf.load import load_class, make_instance
from microbox.nf.manifest import manifest_of
from microbox.nf.problems import HandlerFailed
from microbox.nf.reader import Reader
from microbox.nf.records import RecordFile
from microbox.nf.running import AnyRunner, runner_of
from microbox.nf.verdict import Verdict
from microbox.runtime import worker_process
from microbox.runtime.neighbours import neighbours

ANY_NF = type[NetworkFunction] | str | Path
"""A class, the name of a built-in NF, or the path of a file."""

LOG_SLOTS = 16_384
POLL_NS = 10_000_000
PATIENCE_SECONDS = 60


class RunFailed(AssertionError):
    """The NF raised, or the run could not be."""


class Packet(NamedTuple):
    """A packet that left at the end of the chain."""

    time: int  # nanoseconds since the epoch
    data: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """An event that an NF published, copied."""

    name: str
    time: int
    packet: int
    flow: int
    data: bytes
    fields: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        """A field of the payload."""
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(f"{self.name} has no field '{name}'") from None


@dataclass(frozen=True, slots=True)
class Result:
    """What the NFs did. `records`, `verdicts`, `summary`, `nf` are those of the NF under test."""

    nf: NetworkFunction
    alerts: list[Published]
    records: list[dict[str, Any]]
    published: list[Published]  # but alerts, of all NFs that were given
    verdicts: Counter[Verdict]
    summary: Mapping[str, Any]
    output: list[Packet]
    problems: list[Problem]
    counters: Mapping[str, int]  # of the stack
    warning: str  # about the capture


@dataclass(slots=True)
class Unit:
    """One NF of the chain that is run."""

    entry: ChainNF
    owner: type[NetworkFunction]
    runner: AnyRunner | None = None
    function: NetworkFunction | None = None
    failure: BaseException | None = field(default=None)


def run_nf(
    nf: ANY_NF | Sequence[ANY_NF],
    capture: str | Path,
    *,
    on_error: str = "stop",
    stack: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> Result:
    """Runs an NF over a capture; a list of NFs as a chain, whose last one is under test.

    `parameters` are those of the NF under test. Parsers that it needs are added. `stack`: settings
    as in a chain file. Raises RunFailed when a handler raises, unless `on_error` is "skip".
    """
    listed = [nf] if isinstance(nf, str | Path | type) else list(nf)
    units = [unit_of(one, {}) for one in listed[:-1]]
    tested = unit_of(listed[-1], parameters)
    units.append(tested)
    if any(manifest_of(unit.owner).publishes for unit in units):
        units.append(observer_of(units))
    settings = StackSettings.model_validate(stack or {})
    with ExitStack() as opened:
        return _Run(
            Path(capture), units, tested, opened, on_error=on_error, settings=settings
        ).result()


def unit_of(nf: ANY_NF, parameters: Mapping[str, Any]) -> Unit:
    """The NF as an entry of a chain."""
    if isinstance(nf, type):
        owner, source = nf, Path(manifest_of(nf).file)
    else:
        built_in_file = None if isinstance(nf, Path) or is_path(nf) else built_in_source(nf)
        source = built_in_file or Path(nf)
        owner = load_class(source)
    name = source.stem if not isinstance(nf, type) else owner.__name__
    return Unit(ChainNF(name, source, dict(parameters)), owner)


def observer_of(units: Iterable[Unit]) -> Unit:
    """An NF that copies what the others publish, as any later NF of a chain would see it."""
    manifests = [manifest_of(unit.owner) for unit in units]
    types = dict.fromkeys(name for one in manifests for name in one.publishes)

    def see(self: Any, event: Event) -> None:
        self.seen.append(
            Published(
                event.type.name,
                event.time,
                event.packet,
                event.flow.id,
                bytes(event.data),
                event.fields(),
            )
        )

    def start(self: Any) -> None:
        self.seen = []

    declares = {each.name: each.fields for one in manifests for each in one.declares}
    owner = type(
        "Observer",
        (NetworkFunction,),
        {"declares": declares, "inline": False, "start": start, "see": on(*types)(see)},
    )
    return Unit(ChainNF("(observer)", Path(__file__)), owner)


class _Run:
    """One run; everything that it opens is closed by `stack`."""

    def __init__(  # noqa: PLR0913 (what a run is, put together once)
        self,
        capture: Path,
        units: list[Unit],
        tested: Unit,
        stack: ExitStack,
        *,
        on_error: str,
        settings: StackSettings,
    ) -> None:
        self._units = units
        self._tested = tested
        self._on_error = on_error
        self._settings = settings
        self._stack = stack
        self._capture = capture
        self._problems: list[Problem] = []
        self._cancelled = threading.Event()
        self._plan = self._make_plan()
        self._logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="microbox-")))

    def _make_plan(self) -> Plan:
        place = 0
        while True:
            chain = Chain(
                "run_nf",
                self._capture,
                None,
                tuple(unit.entry for unit in self._units),
                settings=self._settings.as_settings(),
                log_slots=LOG_SLOTS,
                hosts=self._settings.host_networks(),
            )
            manifests = [manifest_of(unit.owner) for unit in self._units]
            addition = next_addition(chain, manifests, built_in())
            if addition is None:
                return make_plan(chain, manifests, built_in())
            place = addition.before
            self._units.insert(place, Unit(addition.nf, load_class(addition.nf.source)))

    def result(self) -> Result:
        output = self._memory("output")
        worker = self._start_worker(output)
        self._connect(worker)
        threads = [
            threading.Thread(target=self._run_unit, args=(unit,), daemon=True)
            for unit in self._units
            if unit is not self._tested
        ]
        worker.send(Begin())
        for thread in threads:
            thread.start()
        self._run_unit(self._tested)
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        self._raise_failures()
        done = self._receive(worker, Done)
        return self._gathered(done, output)

    # --- setting up ---

    def _memory(self, name: str) -> int:
        fd = os.memfd_create(name)
        self._stack.callback(os.close, fd)
        return fd

    def _start_worker(self, output: int) -> Channel:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel = self._stack.enter_context(closing(Channel(ours)))
        thread = threading.Thread(target=_serve, args=(Channel(theirs),), daemon=True)
        thread.start()
        self._stack.callback(thread.join, PATIENCE_SECONDS)
        self._stack.callback(self._stop_worker, channel)
        try:
            capture = os.open(self._capture, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise RunFailed(f"{self._capture}: {error.strerror}") from None
        self._stack.callback(os.close, capture)
        plan = self._plan
        start = StartWorker(
            str(self._capture),
            "output",
            0,
            plan.log_slots,
            plan.settings,
            plan.hosts,
            derived=plan.derived,
        )
        channel.send(start, [capture, output])
        return channel

    def _connect(self, worker: Channel) -> WorkerAreas:
        areas: WorkerAreas
        areas, fds = self._receive_with_descriptors(worker, WorkerAreas)
        for fd in fds:
            self._stack.callback(os.close, fd)
        log, self._counters_fd, capture, assembled = fds
        readers = [self._reader(planned) for planned in self._plan.nfs]
        for planned, reader in zip(self._plan.nfs, readers, strict=True):
            worker.send(
                Attach(planned.index, planned.shape, planned.fails_closed), [reader.area_fd]
            )
            reader.map_log(log)
            reader.map_pool(capture, areas.pool_size, assembled, areas.assembled_size)
            for neighbour in neighbours(self._plan, planned):
                reader.map_neighbour(neighbour, readers[neighbour.index].area_fd)
        worker.send(self._plan.subscribe())
        for unit, planned, reader in zip(self._units, self._plan.nfs, readers, strict=True):
            self._make_runner(unit, planned, reader)
        return areas

    def _configure(self, planned: PlannedNF) -> Configure:
        return Configure(
            planned.index,
            planned.bits,
            planned.shape,
            planned.cut,
            self._plan.user_types,
            self._plan.names,
            self._plan.command_delay(planned),
            self._plan.stream_types(),
            derives=planned.derives,
        )

    def _reader(self, planned: PlannedNF) -> Reader:
        return self._stack.enter_context(closing(Reader(self._configure(planned))))

    def _make_runner(self, unit: Unit, planned: PlannedNF, reader: Reader) -> None:
        unit.function = make_instance(unit.owner, planned.entry, planned.parameters)
        unit.runner = runner_of(
            unit.function,
            reader,
            self._plan.catalog,
            self._configure(planned),
            on_error=self._on_error,
            tell=self._problems.append,
            log=RecordFile(self._logs / f"{planned.index}.jsonl"),
        )

    # --- running ---

    def _run_unit(self, unit: Unit) -> None:
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
            self._cancel()
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
            raise RunFailed("cancelled")

    def _cancel(self) -> None:
        self._cancelled.set()
        for unit in self._units:
            if unit.runner is not None:
                unit.runner.cancel()

    def _raise_failures(self) -> None:
        for unit in self._units:
            if unit.failure is None:
                continue
            if isinstance(unit.failure, HandlerFailed):
                problem = unit.failure.problem
                raise RunFailed(f"{unit.entry.name}: {problem.error}\n{problem.traceback}")
            raise RunFailed(f"{unit.entry.name}: {unit.failure}") from unit.failure

    def _stop_worker(self, channel: Channel) -> None:
        """Ends the worker however far it is: no NF holds anything up any more."""
        try:
            for planned in self._plan.nfs:
                channel.send(Detach(planned.index, 0))
            channel.send(Stop())
        except ChannelClosed:
            return

    def _receive(self, worker: Channel, kind: type[Message]) -> Any:
        return self._receive_with_descriptors(worker, kind)[0]

    @staticmethod
    def _receive_with_descriptors(worker: Channel, kind: type[Message]) -> tuple[Any, list[int]]:
        if not worker.poll(PATIENCE_SECONDS):
            raise RunFailed(f"the worker has not said {kind.__name__} for {PATIENCE_SECONDS} s")
        message, fds = worker.receive()
        if isinstance(message, Failed):
            raise RunFailed(message.error)
        if not isinstance(message, kind):
            raise RunFailed(f"the worker said {type(message).__name__}, not {kind.__name__}")
        return message, fds

    # --- results ---

    def _gathered(self, done: Done, output: int) -> Result:
        runner, function = self._tested.runner, self._tested.function
        assert runner is not None and function is not None and runner.records is not None
        last = self._units[-1]
        seen: list[Published] = [] if last is self._tested else getattr(last.function, "seen", [])
        return Result(
            nf=function,
            alerts=[one for one in seen if one.name == "alert"],
            records=read_records(runner.records.path),
            published=[one for one in seen if one.name != "alert"],
            verdicts=runner.verdicts(),
            summary=runner.summary,
            output=read_packets(output),
            problems=self._problems,
            counters=self._stack_counters(),
            warning=done.warning,
        )

    def _stack_counters(self) -> dict[str, int]:
        area = ffi.new("struct mb_area *")
        status = lib.mb_area_map(area, self._counters_fd, lib.mb_worker_counters_size())
        if status < 0:
            raise RunFailed(f"the counters cannot be read: {os.strerror(-status)}")
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


def _serve(channel: Channel) -> None:
    """The worker's thread: what its process would do."""
    with closing(channel):
        try:
            worker_process.serve(channel)
        except (worker_process.Stopped, ChannelClosed):
            return
        except Exception as error:
            channel.send(Failed(str(error)))


def read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_packets(capture: int) -> list[Packet]:
    """All packets of a capture file."""
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    source = lib.mb_source_open(capture, b"output", error)
    if source == ffi.NULL:
        raise RunFailed(f"the output: {ffi.string(error).decode()}")
    try:
        return list(_packets(source))
    finally:
        lib.mb_source_close(source)


def _packets(source: Any) -> Iterable[Packet]:
    pool = lib.mb_source_pool(source)
    frames = ffi.new("struct mb_frame[]", 256)
    while count := lib.mb_source_read(source, frames, len(frames)):
        for frame in frames[0:count]:
            yield Packet(frame.time, bytes(ffi.buffer(pool + frame.offset, frame.length)))


def sample_capture() -> Path:
    """A small real capture for tests: a DNS lookup, then one HTTP exchange, 12 packets."""
    return Path(str(resources.files("microbox").joinpath("sample.pcap")))
