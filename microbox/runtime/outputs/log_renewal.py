"""Logs whose files were given other names (logrotate) go on in new ones, while packets flow.

Each NF writes what it has left into the file that it has, then goes on in the one that it is given:
no line is lost or twice, and the old file is whole when it says so.
"""

from __future__ import annotations

import asyncio
import contextlib

from microbox.channel.messages import NewLog
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.observer import Observer
from microbox.runtime.outputs.log_parts import log_name
from microbox.runtime.outputs.record_files import RecordFiles
from microbox.runtime.processes.supervisor import ChildError


class LogRenewal:
    """Of one run."""

    def __init__(self, files: RecordFiles, observer: Observer) -> None:
        """Nothing has got another name yet."""
        self._files = files
        self._observer = observer
        self._followed: list[tuple[Lane, RunningNF]] = []
        self._giving: set[asyncio.Task[None]] = set()
        self._is_asked_for = False

    def follow(self, lane: Lane, nf: RunningNF) -> None:
        """An NF has taken its place. Its file may be of before the last renewal."""
        self._followed.append((lane, nf))
        if self._is_asked_for:
            self._give(lane, nf)

    def renew(self) -> None:
        """Files of other names are no logs any more: new ones are."""
        self._is_asked_for = True
        self._followed = [(lane, nf) for lane, nf in self._followed if nf.exit is None]
        renewed = self._files.renew()
        names = ", ".join(sorted(renewed))
        self._observer.note(f"opened anew: {names}" if names else "no log has been moved")
        for lane, nf in self._followed:
            if log_name(nf.planned, lane.partition) in renewed:
                self._give(lane, nf)

    def taken(self, lane: Lane, nf: RunningNF) -> None:
        """The NF has gone on in the file that it was given."""
        self._files.settle(log_name(nf.planned, lane.partition))

    def _give(self, lane: Lane, nf: RunningNF) -> None:
        task = asyncio.create_task(self._send(lane, nf))
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)

    async def _send(self, lane: Lane, nf: RunningNF) -> None:
        file = log_name(nf.planned, lane.partition)
        with self._files.opened(nf.planned.name, file) as descriptors:
            if descriptors:
                with contextlib.suppress(ChildError):  # it is gone: whoever follows it says how
                    await nf.child.send(NewLog(), descriptors)

    async def stop(self) -> None:
        """The run is over."""
        for task in self._giving:
            task.cancel()
        await asyncio.gather(*self._giving, return_exceptions=True)
