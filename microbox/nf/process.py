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
from microbox.channel.channel import Channel, ChannelClosed, ChannelError
from microbox.channel.messages import (
    Area,
    Begin,
    Configure,
    Failed,
    Finished,
    Load,
    Map,
    Message,
    Neighbour,
    Ready,
    Stop,
)
from microbox.events.catalog import built_in
from microbox.nf.c_runner import CRunner
from microbox.nf.errors import DeclarationError, LoadError, ParameterError
from microbox.nf.function import NetworkFunction
from microbox.nf.load import load_class, make_instance, own_frames
from microbox.nf.manifest import manifest_of
from microbox.nf.problems import HandlerFailed
from microbox.nf.reader import BusError, Reader
from microbox.nf.running import AnyRunner, runner_of
from microbox.nf.summary import as_plain

Answer = TypeVar("Answer")

POLL_NS = 50_000_000  # how long a wait for events may keep a message from the controller waiting


class Stopped(Exception):
    """The controller wants no more of this NF."""


class NFProcess:
    """One NF from Load to Finished."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def run(self) -> int:
        """Returns the exit status: 0, or 1 after Failed."""
        try:
            self._serve()
        except (Stopped, ChannelClosed):
            pass
        except LoadError as error:
            return self._fail(str(error), error.traceback, error.hint)
        except ParameterError as error:
            return self._fail(str(error), parameter=error.parameter)
        except (DeclarationError, BusError, ChannelError) as error:
            return self._fail(str(error))
        except HandlerFailed as error:
            return self._fail(str(error), error.problem.traceback)
        except Exception as error:
            return self._fail(f"{type(error).__name__}: {error}", own_frames(error))
        return 0

    def _fail(self, error: str, traceback: str = "", hint: str = "", *, parameter: str = "") -> int:
        with contextlib.suppress(ChannelError):
            self._channel.send(Failed(error, traceback, hint, parameter))
        return 1

    def _serve(self) -> None:
        load, _ = self._expect(Load)
        owner = load_class(Path(load.source))
        self._channel.send(manifest_of(owner))
        configure, _ = self._expect(Configure)
        function = make_instance(owner, load.name, load.parameters, load.base)
        reader = Reader(configure)
        try:
            self._channel.send(Area(), [reader.area_fd])
            self._map(reader)
            runner = self._runner(load, configure, function, reader)
            self._run(runner)
            self._report(runner)
        finally:
            sys.stdout.flush()

    def _run(self, runner: AnyRunner) -> None:
        try:
            if isinstance(runner, CRunner):
                runner.report_crashes()
            if runner.is_async:
                self._run_async(runner)
                return
            runner.start()
            self._channel.send(Ready())
            self._loop(runner)
        finally:
            if runner.records is not None:
                runner.records.close()

    def _expect(self, kind: type[Answer]) -> tuple[Answer, list[int]]:
        """The next message, which has to be of this kind. Raises Stopped for Stop."""
        message, fds = self._channel.receive()
        if isinstance(message, Stop):
            raise Stopped
        if not isinstance(message, kind):
            raise ChannelError(f"expected {kind.__name__}, got {type(message).__name__}")
        return message, fds

    def _map(self, reader: Reader) -> None:
        """Log and frame pool, then the neighbours, until Begin."""
        mapping, fds = self._expect(Map)
        with closing(fds):
            reader.map_log(fds[0])
            reader.map_pool(fds[1], mapping.pool_size, fds[2], mapping.assembled_size)
        while True:
            message, fds = self._channel.receive()
            match message:
                case Neighbour():
                    with closing(fds):
                        reader.map_neighbour(message, fds[0])
                case Begin():
                    return
                case Stop():
                    raise Stopped
                case _:
                    raise ChannelError(f"expected Neighbour, got {type(message).__name__}")

    def _runner(
        self, load: Load, configure: Configure, function: NetworkFunction, reader: Reader
    ) -> AnyRunner:
        log = Path(load.log_directory) / load.log_name if load.log_directory else None
        return runner_of(
            function,
            reader,
            built_in().with_user_types(configure.user_types),
            configure,
            on_error=load.on_error,
            tell=self._channel.send,
            log=log,
            utc=load.utc,
        )

    def _loop(self, runner: AnyRunner) -> None:
        """Until the end of the input has been handled, or the controller says Stop."""
        while not runner.is_finished:
            runner.run_once(POLL_NS)
            if self._channel.poll(0):
                self._obey(self._channel.receive()[0], runner)

    def _obey(self, message: Message, runner: AnyRunner) -> None:
        """What the controller says while the NF runs."""
        if not isinstance(message, Stop):
            raise ChannelError(f"expected Stop, got {type(message).__name__}")
        runner.finish()

    def _run_async(self, runner: AnyRunner) -> None:
        """As `_run`, on an event loop that watches the channel."""
        import asyncio

        from microbox.nf.async_runner import AsyncRunner, run_on_uvloop

        assert isinstance(runner, AsyncRunner)
        messages: list[Message | ChannelError] = []

        def note_message() -> None:
            try:
                message, _ = self._channel.receive()
            except ChannelError as error:
                asyncio.get_running_loop().remove_reader(self._channel)
                messages.append(error)
                return
            if isinstance(message, Stop):  # whatever a handler awaits
                runner.stop()
            else:
                messages.append(message)

        def obey_all() -> None:
            while messages:
                message = messages.pop(0)
                if isinstance(message, ChannelError):
                    raise message
                self._obey(message, runner)

        async def work() -> None:
            asyncio.get_running_loop().add_reader(self._channel, note_message)
            await runner.begin()
            self._channel.send(Ready())
            await runner.run(POLL_NS, obey_all)

        run_on_uvloop(work())

    def _report(self, runner: AnyRunner) -> None:
        records = runner.records
        self._channel.send(
            Finished(
                summary=as_plain(runner.summary),
                records=records.written if records else 0,
                records_lost=records.lost if records else 0,
                log_file=str(records.path) if records and records.is_made else "",
            )
        )


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's to handle
    lib.mb_die_with_parent(os.getppid())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    with Channel.from_descriptor(int(sys.argv[1])) as channel:
        return NFProcess(channel).run()


if __name__ == "__main__":
    sys.exit(main())
