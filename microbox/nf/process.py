"""The process of one NF: `python -P -m microbox.nf.process FD`.

FD is its end of the socket to the controller; the order of messages is that of
`microbox.channel.messages`. The user's file is loaded here and nowhere else.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from microbox._core import lib
from microbox.channel.channel import Channel, ChannelClosed, ChannelError, Received
from microbox.channel.messages import (
    Area,
    Begin,
    Configure,
    Derive,
    Failed,
    Finished,
    Load,
    LogTaken,
    Map,
    Met,
    Neighbour,
    NewLog,
    Problem,
    Ready,
    Stop,
    WorkerGone,
)
from microbox.confine.confinement import ConfinementError, confine, stay_free
from microbox.confine.domain import Needs
from microbox.events.catalog import built_in
from microbox.nf.c_runner import CRunner
from microbox.nf.errors import DeclarationError, LoadError, ParameterError
from microbox.nf.function import NetworkFunction
from microbox.nf.load import load_class, make_instance, own_frames
from microbox.nf.manifest import manifest_of
from microbox.nf.memory import MemoryLimit
from microbox.nf.needs import check_was_read, narrowed, needs_of
from microbox.nf.permission import permissions_of
from microbox.nf.problems import HandlerFailed, Hint, in_words, no_hint
from microbox.nf.reader import BusError, Reader
from microbox.nf.records import RecordFile
from microbox.nf.running import AnyRunner, runner_of
from microbox.nf.shared_object import is_c, shared_object_of
from microbox.nf.summary import as_plain

Answer = TypeVar("Answer")

POLL_NS = 20_000_000  # how long a wait for events may keep a message from the controller waiting


class Stopped(Exception):
    """The controller wants no more of this NF."""


class NFProcess:
    """One NF from Load to Finished."""

    def __init__(self, channel: Channel, parent: int | None) -> None:
        """`parent`: with which process it is to die; None: with nobody."""
        self._channel = channel
        self._parent = parent
        self._waits = False
        self._log = -1  # descriptor of the file for its records
        self._hint: Hint = no_hint
        self._needs = Needs()
        self._memory = MemoryLimit(0)

    def run(self) -> int:
        """Returns the exit status: 0, or 1 after Failed. Raises ChannelClosed where the controller
        is gone."""
        try:
            self._serve()
        except Stopped:
            pass
        except ChannelClosed:
            raise
        except LoadError as error:
            hint = error.hint or self._hint_on(error.__context__ or error)
            return self._fail(str(error), error.traceback, hint)
        except ParameterError as error:
            return self._fail(str(error), parameter=error.parameter)
        except (ConfinementError, DeclarationError, BusError, ChannelError) as error:
            return self._fail(str(error))
        except HandlerFailed as error:
            return self._fail(str(error), error.problem.traceback)
        except Exception as error:
            return self._fail(in_words(error, self._hint_on), own_frames(error))
        return 0

    def _tell(self, problem: Problem) -> None:
        self._channel.send(problem)

    def _hint_on(self, error: BaseException) -> str:
        return self._memory.hint(error) or self._hint(error)

    def _fail(self, error: str, traceback: str = "", hint: str = "", *, parameter: str = "") -> int:
        with contextlib.suppress(ChannelError):
            self._channel.send(Failed(error, traceback, hint, parameter))
        return 1

    def _serve(self) -> None:
        load, fds = self._expect(Load)
        self._log = fds[0] if fds else -1
        source = Path(load.source)
        shared_object = None
        if is_c(source):
            shared_object = shared_object_of(source, is_confined=load.sandbox.is_on)
        self._memory = MemoryLimit(load.memory)
        self._confine(load, source)
        owner = self._load(load, source, shared_object)
        self._channel.send(manifest_of(owner))
        configure, _ = self._expect(Configure)
        function = make_instance(owner, load.name, load.parameters, load.base)
        self._memory.begin_own()
        reader = Reader(configure)
        try:
            self._channel.send(Area(), [reader.area_fd])
            self._map(reader)
            runner = self._runner(load, configure, function, reader)
            self._memory.end_own()
            self._run(runner, reader)
            self._report(runner, reader)
        finally:
            sys.stdout.flush()

    def _confine(self, load: Load, source: Path) -> None:
        """Before any line of the user's code has run."""
        if not load.sandbox.is_on:
            self._channel.send(stay_free())
            return
        self._needs = narrowed(needs_of(source, load.parameters, load.base), load.sandbox)
        self._hint = permissions_of(None, self._needs).hint
        is_to_run = bool(load.log_directory)
        confined = confine(source, self._needs, parent=self._parent, makes_files=is_to_run)
        self._channel.send(confined)

    def _load(self, load: Load, source: Path, shared_object: int | None) -> type[NetworkFunction]:
        """Runs the user's file."""
        owner = load_class(source, shared_object)
        if load.sandbox.is_on and not is_c(source):
            check_was_read(owner, source)
            self._hint = permissions_of(owner, self._needs).hint
        return owner

    def _run(self, runner: AnyRunner, reader: Reader) -> None:
        try:
            if isinstance(runner, CRunner):
                runner.report_crashes()
            if runner.is_async:
                self._run_async(runner, reader)
                return
            runner.start()
            self._channel.send(Ready())
            self._wait_for_place(reader)
            self._loop(runner, reader)
        finally:
            if runner.records is not None:
                runner.records.close()

    def _receive(self) -> Received:
        """The next message, before the NF has its place. Raises Stopped for Stop."""
        message, fds = self._channel.receive()
        if isinstance(message, Stop | WorkerGone):
            raise Stopped
        return message, fds

    def _expect(self, kind: type[Answer]) -> tuple[Answer, list[int]]:
        """The next message, which has to be of this kind. Raises Stopped for Stop."""
        message, fds = self._receive()
        if not isinstance(message, kind):
            raise ChannelError(f"expected {kind.__name__}, got {type(message).__name__}")
        return message, fds

    def _map(self, reader: Reader) -> None:
        """Log and frame pool, then the neighbours, until Begin."""
        mapping, fds = self._expect(Map)
        with closing(fds):
            reader.map_log(fds[0])
            reader.map_pool(mapping, *fds[1:])
        while True:
            message, fds = self._receive()
            match message:
                case Neighbour():
                    with closing(fds):
                        reader.map_neighbour(message, fds[0])
                case Begin():
                    self._waits = message.waits
                    return
                case _:
                    raise ChannelError(f"expected Neighbour, got {type(message).__name__}")

    def _wait_for_place(self, reader: Reader) -> None:
        """What the log says to whoever has this index is not for this process before it is
        attached: another one may still be there."""
        while self._waits:
            message, fds = self._receive()
            with closing(fds):
                match message:
                    case Neighbour():
                        reader.map_neighbour(message, fds[0])
                        self._channel.send(Met())
                    case Begin():
                        self._waits = False
                        self._take_place(message.at)
                    case _:
                        raise ChannelError(f"expected Begin, got {type(message).__name__}")

    def _take_place(self, at: int) -> None:
        """The NF has its place, and reads from event `at` on."""

    def _runner(
        self, load: Load, configure: Configure, function: NetworkFunction, reader: Reader
    ) -> AnyRunner:
        log = None
        if load.log_directory:
            path = Path(load.log_directory) / load.log_name
            log = RecordFile(path, self._log, load.writes_part, load.log_format, load.utc)
        return runner_of(
            function,
            reader,
            built_in().with_user_types(configure.user_types),
            configure,
            on_error=load.on_error,
            tell=self._tell,
            log=log,
            hint=self._hint_on,
        )

    def _loop(self, runner: AnyRunner, reader: Reader) -> None:
        """Until the end of the input has been handled, or the controller says Stop."""
        while not runner.is_finished:
            runner.run_once(POLL_NS)
            while self._channel.poll(0) and not runner.is_finished:
                self._obey(self._channel.receive(), runner, reader)

    def _obey(self, received: Received, runner: AnyRunner, reader: Reader) -> None:
        """What the controller says while packets flow: others come and go, or it is over."""
        message, fds = received
        with closing(fds):
            match message:
                case Neighbour():
                    reader.map_neighbour(message, fds[0])
                    self._channel.send(Met())
                case WorkerGone():
                    reader.read_to_the_end(message.gone)
                case Derive():
                    reader.derive(message.derives)
                    self._channel.send(Met())
                case NewLog() if runner.records is not None:
                    runner.records.go_on_in(fds.pop())
                    self._channel.send(LogTaken())
                case Stop():
                    self._let_go()
                    runner.finish()
                case _:
                    raise ChannelError(f"expected Stop, got {type(message).__name__}")

    def _let_go(self) -> None:
        """It is to finish, though the input is not over."""

    def _run_async(self, runner: AnyRunner, reader: Reader) -> None:
        """As `_run`, on an event loop that watches the channel."""
        import asyncio

        from microbox.nf.async_runner import AsyncRunner, run_on_uvloop

        assert isinstance(runner, AsyncRunner)
        messages: list[Received | ChannelError] = []

        def note_message() -> None:
            try:
                received = self._channel.receive()
            except ChannelError as error:
                asyncio.get_running_loop().remove_reader(self._channel)
                messages.append(error)
                return
            if isinstance(received[0], Stop):  # whatever a handler awaits
                self._let_go()
                runner.stop()
            else:
                messages.append(received)

        def obey_all() -> None:
            while messages:
                received = messages.pop(0)
                if isinstance(received, ChannelError):
                    raise received
                self._obey(received, runner, reader)

        async def work() -> None:
            asyncio.get_running_loop().add_reader(self._channel, note_message)
            await runner.begin()
            self._channel.send(Ready())
            if self._waits:
                asyncio.get_running_loop().remove_reader(self._channel)
                self._wait_for_place(reader)
                asyncio.get_running_loop().add_reader(self._channel, note_message)
            await runner.run(POLL_NS, obey_all)

        run_on_uvloop(work())

    def _report(self, runner: AnyRunner, reader: Reader) -> None:
        records = runner.records
        last = Finished(
            summary=as_plain(runner.summary),
            records=records.written if records else 0,
            records_lost=records.lost if records else 0,
            log_file=str(records.path) if records and records.is_made else "",
        )
        self._channel.send(last)
        self._show(last, reader)

    def _show(self, last: Finished, reader: Reader) -> None:
        """To whoever looks on."""


@contextlib.contextmanager
def closing(fds: list[int]) -> Iterator[None]:
    """Closes the descriptors that came with a message."""
    try:
        yield
    finally:
        for fd in fds:
            os.close(fd)


def main() -> int:
    """Runs the NF; the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C is the controller's to handle, and a
        signal.signal(number, signal.SIG_IGN)  # terminal that is closed
    parent = os.getppid()
    lib.mb_die_with_parent(parent)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    with Channel.from_descriptor(int(sys.argv[1])) as channel:
        try:
            return NFProcess(channel, parent).run()
        except ChannelClosed:
            return 0  # nobody is there to be told


if __name__ == "__main__":
    sys.exit(main())
