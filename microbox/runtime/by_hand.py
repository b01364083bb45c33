"""NFs that leave, or are read anew, because a person says so."""

from __future__ import annotations

from typing import Any

from microbox.runtime.changes import Changes
from microbox.runtime.control import Change, ControlError
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.nf_start import NFStarter
from microbox.runtime.observer import Observer
from microbox.runtime.pause import ChangeError
from microbox.runtime.running import Running
from microbox.runtime.supervisor import ChildError, ChildFailed


class ByHand:
    """Of one run."""

    def __init__(
        self, running: Running, starter: NFStarter, changes: Changes, observer: Observer
    ) -> None:
        """Does nothing yet."""
        self._running = running
        self._starter = starter
        self._changes = changes
        self._observer = observer

    def verbs(self) -> dict[str, Change]:
        """For the control socket."""
        return {"detach": self.detach, "reload": self.reload}

    async def detach(self, name: str) -> dict[str, Any]:
        """The NF finishes, and the chain goes on without it."""
        lane, nf = self._named(name)
        readers = [one.name for one in lane.nfs if nf.planned.index in one.planned.reads]
        if readers:
            raise ControlError(f"{', '.join(readers)} reads what {name} publishes")
        try:
            head = await self._changes.leave(lane, nf)
        except (ChangeError, ChildError) as error:
            raise ControlError(f"{name} stays: {error}") from None
        self._observer.note(f"{name} leaves, after event {head:,}")
        return {"event": head}

    async def reload(self, name: str) -> dict[str, Any]:
        """A new process of the NF, its file read anew, takes over from the old one at one event."""
        lane, nf = self._named(name)
        try:
            renewed = await self._starter.start_again(self._running, lane, nf)
        except ChildFailed as error:
            raise ControlError(_in_full(error)) from None
        except (ChildError, OSError) as error:
            raise ControlError(f"{name} goes on as it was: {error}") from None
        try:
            head = await self._changes.hand_over(lane, nf, renewed)
        except (ChangeError, ChildError) as error:
            renewed.child.kill()
            raise ControlError(f"{name} goes on as it was: {error}") from None
        self._observer.note(f"{name} was read anew and runs from event {head:,} on")
        return {"event": head}

    def _named(self, name: str) -> tuple[Lane, RunningNF]:
        found = ((lane, nf) for lane in self._running.lanes for nf in lane.nfs if nf.name == name)
        lane, nf = next(found, (None, None))
        if lane is None or nf is None:
            names = ", ".join(one.name for one in self._running.nfs)
            raise ControlError(f"there is no NF '{name}'; expected one of: {names}")
        if not nf.child.is_alive:
            raise ControlError(f"{name} {nf.outcome}")
        if nf.planned.spread is not None:
            raise ControlError(f"{name} is one of several instances: they come and go together")
        return lane, nf


def _in_full(error: ChildFailed) -> str:
    parts = (str(error), error.failed.hint, error.failed.traceback)
    return "\n".join(part for part in parts if part)
