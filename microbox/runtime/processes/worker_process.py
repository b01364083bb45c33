"""Entry of a worker process: `python -P -m microbox.runtime.processes.worker_process DESCRIPTOR`.

The packet path is C; this loop gives it slices of time and looks for messages between them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network
from typing import Any, TypeVar

from microbox._core import ffi, lib
from microbox.channel.channel import Channel, ChannelClosed, ChannelError
from microbox.channel.geometry import geometry_of
from microbox.channel.messages import (
    Abort,
    Accused,
    Attach,
    Begin,
    Detach,
    Done,
    Failed,
    FindFlows,
    FlowTraced,
    HostNetwork,
    Message,
    ModuleFile,
    Pause,
    Paused,
    Prepare,
    Prepared,
    Promote,
    Resume,
    Resumed,
    StartWorker,
    Stop,
    Subscribe,
    TraceFlow,
    WorkerAreas,
    WorkerSwitch,
)
from microbox.nf.derivations import derived_rows
from microbox.runtime.processes.flow_states import found_flows

SLICE_NS = 20_000_000
"""A message waits at most about this long."""

SILENCE_NS = 1_000_000_000
"""Without input for so long, time goes on without it: what was captured may be so long on its way.
"""

IPV4_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address begins with as one of IPv6 (RFC 4291 section 2.5.5.2)."""

Answer = TypeVar("Answer")


class WorkerError(Exception):
    """The worker cannot go on; says why in a sentence."""


class Stopped(Exception):
    """The controller said Stop before packets flowed."""


def main() -> int:
    """Runs the worker; the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lib.mb_die_with_parent(os.getppid())
    lib.mb_become_undumpable()
    with Channel.from_descriptor(int(sys.argv[1])) as channel:
        try:
            serve(channel)
        except Stopped:
            return 0
        except ChannelClosed:
            return 1  # the controller is gone: nobody is there to be told
        except (WorkerError, ChannelError) as error:
            return _fail(channel, str(error))
    return 0


def _fail(channel: Channel, complaint: str) -> int:
    with contextlib.suppress(ChannelClosed):
        channel.send(Failed(complaint))
    return 1


def serve(channel: Channel) -> None:
    """One run, from StartWorker to Done."""
    start, fds = _expect(channel, StartWorker)
    capture, *others = fds
    head, output = (others[:1], others[1:]) if start.window else ([], others)
    with (
        _descriptors(capture, *head),
        _source(start, capture, *head) as source,
        _sink(output, start, source) as sink,
        _modules(start) as modules,
        _worker(start, source, sink, modules) as worker,
    ):
        channel.send(_areas(source, capture, worker), _area_descriptors(source, worker))
        _connect(channel, worker)
        _work(channel, worker)
        channel.send(_done(worker, sink, start.output))


@contextlib.contextmanager
def _descriptors(*fds: int) -> Iterator[None]:
    """Closes them at the end: a worker may be a thread of a process that goes on."""
    try:
        yield
    finally:
        for fd in fds:
            os.close(fd)


@contextlib.contextmanager
def _source(start: StartWorker, capture: int, head: int = -1) -> Iterator[Any]:
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    name = start.input.encode()
    if start.window:
        source = lib.mb_source_open_live(capture, head, start.window, name, error)
    else:
        source = lib.mb_source_open(capture, name, error)
    if source == ffi.NULL:
        raise WorkerError(_text(error))
    try:
        yield source
    finally:
        lib.mb_source_close(source)


class Sink:
    """The output capture, or nothing; closed once, since closing writes out what is buffered."""

    def __init__(self, pointer: Any) -> None:
        """Owns the sink."""
        self.pointer = pointer
        self.error = 0

    def close(self) -> None:
        """Writes out and closes; `error` is the errno of what went wrong, else 0."""
        if self.pointer != ffi.NULL:
            self.error = -lib.mb_sink_close(self.pointer)
        self.pointer = ffi.NULL


@contextlib.contextmanager
def _sink(output: list[int], start: StartWorker, source: Any) -> Iterator[Sink]:
    if not output:
        yield Sink(ffi.NULL)
        return
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    open_sink = lib.mb_sink_continue if start.continues else _sink_opener(start)
    pointer = open_sink(output[0], lib.mb_source_link_type(source), error)
    if pointer == ffi.NULL:
        raise WorkerError(f"{start.output}: {_text(error)}")
    with contextlib.closing(Sink(pointer)) as sink:
        yield sink


def _sink_opener(start: StartWorker) -> Any:
    """One of several workers writes a part."""
    is_part = start.settings.get("workers", 1) > 1
    return lib.mb_sink_open_part if is_part else lib.mb_sink_open


@contextlib.contextmanager
def _modules(start: StartWorker) -> Iterator[Any]:
    """The users' modules, opened, their types numbered: an array for the stack's config."""
    with contextlib.ExitStack() as stack:
        opened = ffi.new("struct mb_loaded_module *[]", len(start.modules))
        for number, file in enumerate(start.modules):
            opened[number] = _open_module(file)
            stack.callback(lib.mb_module_close, opened[number])
        yield opened


def _open_module(file: ModuleFile) -> Any:
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    module = lib.mb_module_open(file.source.encode(), error)
    if module == ffi.NULL:
        raise WorkerError(_text(error))
    if lib.mb_module_type_count(module) != len(file.types):
        lib.mb_module_close(module)
        raise WorkerError(f"{file.source} has changed since the chain was planned")
    for index, number in enumerate(file.types):
        lib.mb_module_number_type(module, index, number)
    return module


@contextlib.contextmanager
def _worker(start: StartWorker, source: Any, sink: Sink, modules: Any) -> Iterator[Any]:
    config = ffi.new("struct mb_worker_config *")
    for name, value in start.settings.items():
        setattr(config.stack, name, value)
    hosts = host_rows(start.hosts)  # read at the end of _connect: it has to live until then
    config.stack.hosts, config.stack.host_count = hosts, len(hosts)
    config.stack.modules, config.stack.module_count = modules, len(modules)
    derived, programs = derived_rows(start.derived)  # likewise
    config.stack.derived, config.stack.derived_count = derived, len(derived)
    config.stack.link_type = lib.mb_source_link_type(source)
    config.stack.packets_before = start.packets_before
    config.log_slots = start.log_slots
    config.packet_limit = start.packet_limit
    config.pace = start.pace
    config.editors = start.editors
    config.silence = SILENCE_NS
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    worker = lib.mb_worker_create(config, source, sink.pointer, error)
    if worker == ffi.NULL:
        raise WorkerError(_text(error))
    try:
        yield worker
    finally:
        lib.mb_worker_destroy(worker)
        del programs


def host_rows(networks: list[HostNetwork]) -> Any:
    """The networks as an array for the stack; IPv4 addresses are mapped into IPv6."""
    rows = ffi.new("struct mb_host_network[]", len(networks))
    for row, each in zip(rows, networks, strict=True):
        network = ip_network(each.network)
        mapped = IPV4_MAPPED if isinstance(network, IPv4Network) else b""
        row.address = mapped + network.network_address.packed
        row.prefix_length = 8 * len(mapped) + network.prefixlen
        profile = row.profile
        profile.segments, profile.fragments = each.segments, each.fragments
        profile.hops = each.hops
    return rows


def _areas(source: Any, capture: int, worker: Any) -> WorkerAreas:
    versions = lib.mb_worker_versions_shape(worker)
    return WorkerAreas(
        pool_size=lib.mb_source_pool_size(source),
        assembled_size=lib.mb_worker_assembled_size(worker),
        editors=versions.editors,
        version_bytes=versions.ring_bytes,
        file_size=0 if lib.mb_source_is_live(source) else os.fstat(capture).st_size,
        format=_text(lib.mb_source_format(source)),
        link_type=lib.mb_source_link_type(source),
        is_window=lib.mb_source_is_live(source),
    )


def _area_descriptors(source: Any, worker: Any) -> list[int]:
    descriptors = [
        lib.mb_worker_log_fd(worker),
        lib.mb_worker_counters_fd(worker),
        lib.mb_source_pool_fd(source),
        lib.mb_worker_assembled_fd(worker),
        lib.mb_worker_versions_fd(worker),
    ]
    return [fd for fd in descriptors if fd >= 0]


def _connect(channel: Channel, worker: Any) -> None:
    """Takes the NFs' areas and their subscriptions, until packets may flow."""
    while True:
        message, fds = channel.receive()
        match message:
            case Attach():
                _attach(worker, message, fds[0])
            case Subscribe():
                _subscribe(worker, message)
            case Detach():
                lib.mb_worker_detach(worker, message.index, message.status)
            case Stop():
                raise Stopped
            case Begin():
                return
            case _:
                raise _unexpected(message)


def _attach(worker: Any, message: Attach, area: int) -> None:
    shape = geometry_of(message.shape)
    status = lib.mb_worker_attach(worker, message.index, area, shape, message.fails_closed)
    os.close(area)
    if status == 0 and message.skips:
        status = lib.mb_worker_let_skip(worker, message.index)
    if status == 0 and message.is_shadow:
        status = lib.mb_worker_shadow(worker, message.index)
    if status != 0:
        raise WorkerError(f"cannot map the area of NF {message.index}: {os.strerror(-status)}")


def _subscribe(worker: Any, message: Subscribe) -> None:
    filters = [ffi.new("char[]", each.filter.encode()) for each in message.subscriptions]
    subscriptions = ffi.new("struct mb_subscription[]", len(message.subscriptions))
    for row, each, expression in zip(subscriptions, message.subscriptions, filters, strict=True):
        row.nf, row.bit, row.filter = each.nf, each.bit, expression
        row.share = dataclasses.asdict(each.share)
        row.guards_nothing = not each.guards
        _set_bits(row.types, each.types)
        _set_bits(row.lost, each.lost)
    timers = ffi.new("struct mb_timer_subscription[]", len(message.timers))
    for timer, declared in zip(timers, message.timers, strict=True):
        timer.period = declared.period
        _set_bits(timer.mask, declared.bits)
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    status = lib.mb_worker_subscribe(
        worker, subscriptions, len(subscriptions), timers, len(timers), error
    )
    if status != 0:
        raise WorkerError(_text(error))
    _accept_commands(worker, message.switches)


def _accept_commands(worker: Any, switches: list[WorkerSwitch]) -> None:
    rows = ffi.new("struct mb_switch[]", len(switches))
    for row, each in zip(rows, switches, strict=True):
        row.nf, row.subscription = each.nf, each.subscription
        row.is_off_at_first = not each.initially
        _set_bits(row.mask, each.bits)
        _set_bits(row.drops, each.drops)
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    if lib.mb_worker_accept_commands(worker, rows, len(rows), error) != 0:
        raise WorkerError(_text(error))


def _set_bits(words: Any, numbers: list[int]) -> None:
    for number in numbers:
        words[number // 64] |= 1 << number % 64


def _work(channel: Channel, worker: Any) -> None:
    """Slices of work, messages between them, until all is done."""
    while True:
        while channel.poll():
            _obey(channel, channel.receive()[0], worker)
        status = lib.mb_worker_run(worker, SLICE_NS)
        _accuse(channel, worker)
        if status == lib.MB_WORKER_PAUSED:
            _stand_still(channel, worker)
        if status == lib.MB_WORKER_FAILED:
            raise WorkerError(_text(lib.mb_worker_complaint(worker)))
        if status == lib.MB_WORKER_DONE:
            return


def _accuse(channel: Channel, worker: Any) -> None:
    """Tells of NFs that do not keep to the protocol."""
    index = ffi.new("uint32_t *")
    words = ffi.new("char[]", lib.MB_ERROR_SIZE)
    while lib.mb_worker_accuse(worker, index, words):
        channel.send(Accused(index[0], _text(words)))


def _stand_still(channel: Channel, worker: Any) -> None:
    """A pause: NFs come and go, until Resume. A change that cannot be made leaves all as it was:
    nothing is published for an NF that could not be attached."""
    channel.send(Paused(lib.mb_worker_head(worker)))
    error = ""
    refused: set[int] = set()
    while True:
        message, fds = channel.receive()
        if isinstance(message, Resume):
            break
        if isinstance(message, Prepare):
            channel.send(Prepared(error))
            continue
        try:
            _change(_without(message, refused), fds, worker)
        except WorkerError as problem:
            error = error or str(problem)
            if isinstance(message, Attach):
                refused.add(message.index)
    lib.mb_worker_resume(worker)
    channel.send(Resumed(error))


def _without(message: Message, refused: set[int]) -> Message:
    """The same, but for subscriptions of these NFs."""
    if not isinstance(message, Subscribe) or not refused:
        return message
    return dataclasses.replace(
        message,
        subscriptions=[one for one in message.subscriptions if one.nf not in refused],
        switches=[one for one in message.switches if one.nf not in refused],
    )


def _change(message: Message, fds: list[int], worker: Any) -> None:
    match message:
        case Attach():
            _attach(worker, message, fds[0])
            if message.catches_up:
                lib.mb_worker_catch_up(worker, message.index)
        case Subscribe():
            _subscribe(worker, message)
        case Detach(in_order=True):
            lib.mb_worker_leave(worker, message.index)
        case Promote():
            _promote(worker, message)
        case Abort():
            lib.mb_worker_send_away(worker)
        case Detach():
            lib.mb_worker_detach(worker, message.index, message.status)
        case Stop():
            lib.mb_worker_stop(worker)
        case _:
            raise _unexpected(message)


def _promote(worker: Any, message: Promote) -> None:
    for index in message.nfs:
        status = lib.mb_worker_promote(worker, index)
        if status != 0:
            raise WorkerError(f"NF {index} cannot be promoted: {os.strerror(-status)}")
    for index in message.fail_closed:
        lib.mb_worker_fail_closed(worker, index)


def _obey(channel: Channel, message: Message, worker: Any) -> None:
    match message:
        case Detach():
            lib.mb_worker_detach(worker, message.index, message.status)
        case Pause():
            if not lib.mb_worker_pause(worker):
                channel.send(Paused(lib.mb_worker_head(worker), is_over=True))
        case Resume():  # somebody would have had to be waited for too long
            lib.mb_worker_resume(worker)
            channel.send(Resumed())
        case FindFlows():
            channel.send(found_flows(worker, message))
        case TraceFlow():
            lib.mb_worker_trace(worker, message.slot, message.number, message.duration)
            channel.send(FlowTraced())
        case Stop():
            lib.mb_worker_stop(worker)
        case _:
            raise _unexpected(message)


def _done(worker: Any, sink: Sink, output: str) -> Done:
    """What is left to say when the output is written out."""
    warning = _text(lib.mb_worker_warning(worker))
    complaint = _text(lib.mb_worker_complaint(worker))
    sink.close()
    if sink.error:
        complaint = complaint or f"{output}: {os.strerror(sink.error)}"
    return Done(warning=warning, complaint=complaint)


def _expect(channel: Channel, wanted: type[Answer]) -> tuple[Answer, list[int]]:
    message, fds = channel.receive()
    if isinstance(message, Stop):
        raise Stopped
    if not isinstance(message, wanted):
        raise _unexpected(message)
    return message, fds


def _unexpected(message: Message) -> WorkerError:
    return WorkerError(f"the worker does not expect '{message.kind}' now")


def _text(characters: Any) -> str:
    text: bytes = ffi.string(characters)
    return text.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
