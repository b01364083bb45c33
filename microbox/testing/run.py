"""One NF on a capture, or on traffic that a test makes, without a daemon.

    def test_telnet_is_refused():
        result = run_nf(BlockTelnet, tcp("10.0.0.1:1234", "10.0.0.2:23").send(b"x"))
        assert result.verdicts[DROP] == 1

All is as in a run: the plan, the bus, the worker, the runners are the real ones. The worker and all
NFs but the last run in threads; the last one, the NF under test, in the calling thread, where pdb
and coverage see it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from microbox._core import ffi, lib
from microbox.api.in_process import AnyNF, InProcess, Options, Unit, unit_of
from microbox.api.kept_events import Copier
from microbox.chain.model import ChainNF
from microbox.chain.stack_settings import StackSettings
from microbox.channel.messages import Problem
from microbox.nf.batch import Batch
from microbox.nf.decorators import on, on_batch
from microbox.nf.event import Event
from microbox.nf.function import NetworkFunction
from microbox.nf.manifest import manifest_of
from microbox.nf.verdict import Verdict
from microbox.runtime.errors import InputError, RunError
from microbox.runtime.inputs.capture import Capture, about_input, open_capture
from microbox.testing.flows import Flow
from microbox.testing.traffic import Packet, Traffic, merged


class RunFailed(AssertionError):
    """The NF raised, or the run could not be."""


Input = str | Path | Flow | Sequence[Packet] | Sequence[Flow]
"""A capture's path, a flow, traffic, or several flows: packets by their times."""


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
    output: list[Packet]  # what left at the end of the chain
    observed: list[Event]  # of the types that were to be observed
    problems: list[Problem]
    counters: Mapping[str, int]  # of the stack
    warning: str  # about the capture


def run_nf(
    nf: AnyNF | Sequence[AnyNF],
    capture: Input,
    *,
    observe: Sequence[str] = (),
    on_error: str = "stop",
    stack: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> Result:
    """Runs an NF over a capture or traffic; a list of NFs as a chain, whose last one is under test.

    `parameters` are those of the NF under test. Parsers that it needs are added. `observe`: types
    of events, the stack's as well, that the result is to have, as an NF behind sees them. `stack`:
    settings as in a chain file. Raises RunFailed when a handler raises, unless `on_error` is
    "skip".
    """
    listed = [nf] if isinstance(nf, str | Path | type) else list(nf)
    units = [unit_of(one, {}) for one in listed[:-1]]
    tested = unit_of(listed[-1], parameters)
    units.append(tested)
    observer = _Observer()
    if observe or any(manifest_of(unit.owner).publishes for unit in units):
        units.append(observer.unit(units, observe))
    settings = StackSettings.model_validate(stack or {})
    with ExitStack() as opened:
        source = _opened(capture, opened)
        output = _memory("output", opened)
        logs = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="microbox-")))
        options = Options(on_error, settings, output=output, logs=logs)
        try:
            run = InProcess(units, tested, source.fd, _name(capture), options)
            observer.watch(run)
            opened.enter_context(run)
            run.lead()
            done = run.finish()
            warning = about_input(done.warning, source)
            return _result(run, warning, output, observer)
        except RunError as error:
            raise RunFailed(str(error)) from error


def traffic_of(packets: Flow | Sequence[Packet] | Sequence[Flow]) -> Traffic:
    """All packets by their times. Raises TypeError for what is none."""
    parts: list[object] = [packets] if isinstance(packets, Flow) else list(packets)
    flows = [one for one in parts if isinstance(one, Flow)]
    singles = [one for one in parts if isinstance(one, Packet)]
    if len(flows) == len(parts):
        return merged(*flows)
    if len(singles) == len(parts):
        return merged(singles)
    wrong = next((one for one in parts if not isinstance(one, Flow | Packet)), parts)
    raise TypeError(
        f"expected flows, or packets, not {wrong!r:.60}; of frames Traffic.of(frame, ...) is made"
    )


def _name(capture: Input) -> str:
    return str(capture) if isinstance(capture, str | Path) else "(traffic)"


def _opened(capture: Input, opened: ExitStack) -> Capture:
    if not isinstance(capture, str | Path):
        fd = _memory("traffic", opened)
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(traffic_of(capture).capture())
        return Capture(fd)
    try:
        source = open_capture(Path(capture))
    except InputError as error:
        raise RunFailed(str(error)) from None
    opened.callback(os.close, source.fd)
    return source


def _memory(name: str, opened: ExitStack) -> int:
    fd = os.memfd_create(name)
    opened.callback(os.close, fd)
    return fd


class _Observer:
    """An NF that copies what the others publish, as any later NF of a chain would see it, and
    events of other types that it is told to."""

    def __init__(self) -> None:
        self.seen: list[Published] = []
        self.observed: list[Event] = []
        self._run: InProcess | None = None
        self._copier: Copier | None = None

    def unit(self, units: Iterable[Unit], observe: Sequence[str]) -> Unit:
        """As the last NF of a chain."""
        manifests = [manifest_of(unit.owner) for unit in units]
        types = dict.fromkeys(name for one in manifests for name in one.publishes)
        handlers = {}
        if types:
            handlers["see"] = on(*types)(lambda _, event: self._see(event))
        if observe:
            handlers["observe"] = on_batch(*observe)(lambda _, batch: self._observe(batch))
        declares = {each.name: each.fields for one in manifests for each in one.declares}
        members = {"declares": declares, "inline": False, **handlers}
        owner = type("Observer", (NetworkFunction,), members)
        return Unit(ChainNF("(observer)", Path(__file__)), owner)

    def watch(self, run: InProcess) -> None:
        """Before it starts."""
        self._run = run

    def _see(self, event: Event) -> None:
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

    def _observe(self, batch: Batch) -> None:
        if self._copier is None:
            assert self._run is not None and self._run.areas is not None
            self._copier = Copier(self._run.areas.pool_size)
        self.observed += self._copier.copies(batch)


def _result(run: InProcess, warning: str, output: int, observer: _Observer) -> Result:
    runner, function = run.led.runner, run.led.function
    assert runner is not None and function is not None and runner.records is not None
    return Result(
        nf=function,
        alerts=[one for one in observer.seen if one.name == "alert"],
        records=read_records(runner.records.path),
        published=[one for one in observer.seen if one.name != "alert"],
        verdicts=runner.verdicts(),
        summary=runner.summary,
        output=read_packets(output),
        observed=observer.observed,
        problems=run.problems,
        counters=run.counters(),
        warning=warning,
    )


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
