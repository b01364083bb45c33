"""NFs that leave, are read anew or promoted, because a person says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from microbox.chain.promotion import PromotionError
from microbox.runtime.control.control_server import Change
from microbox.runtime.control.control_socket import ControlError
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.membership.changes import Changes, Member
from microbox.runtime.membership.pause import ChangeError, LeftOutError
from microbox.runtime.nf_start import NFStarter
from microbox.runtime.observer import Observer, Speaker
from microbox.runtime.processes.supervisor import ChildError, ChildFailed
from microbox.runtime.running import Running


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
        return {"detach": self.detach, "reload": self.reload, "promote": self.promote}

    async def detach(self, name: str) -> dict[str, Any]:
        """The NF finishes, with all its instances, and the chain goes on without it."""
        found = self._named(name)
        lane, nf = found[0]
        readers = ", ".join(
            one.planned.name for one in lane.readers_of(nf) if one not in nf.companions
        )
        if readers:
            raise ControlError(f"{readers} reads what {name} publishes")
        companions = [(lane, one) for lane, nf in found for one in dispensable(lane, nf)]
        try:
            heads = await self._changes.leave([*found, *companions])
        except (ChangeError, ChildError) as error:
            raise ControlError(f"{name} stays: {error}") from None
        self._observer.note(f"{name} leaves, after {at_events(heads)}", _all_of(found[0][1]))
        return {"events": heads}

    async def reload(self, name: str) -> dict[str, Any]:
        """A new process of the NF, its file read anew, takes over from the old one at one event,
        one for each instance."""
        found = self._named(name)
        if found[0][1].is_guest:
            raise ControlError(f"{name} was attached: end it, and attach it anew")
        try:
            renewed = await self._starter.all_started_again(self._running, found)
        except ChildFailed as error:
            raise ControlError(in_full(error)) from None
        except (ChildError, OSError) as error:
            raise ControlError(f"{name} goes on as it was: {error}") from None
        try:
            heads = await self._changes.hand_over(found, renewed)
        except LeftOutError as error:
            for nf in renewed:
                nf.child.kill()
            raise ControlError(
                f"{name} has left, and its new process could not take its place: {error}; "
                "the chain goes on without it"
            ) from None
        except (ChangeError, ChildError) as error:
            for nf in renewed:
                nf.child.kill()
            raise ControlError(f"{name} goes on as it was: {error}") from None
        words = f"{name} was read anew and runs from {at_events(heads)} on"
        self._observer.note(words, _all_of(found[0][1]))
        return {"events": heads}

    async def promote(self, name: str) -> dict[str, Any]:
        """The NF, with all its instances, is in shadow no more."""
        nfs = [nf for nf in self._running.nfs if name in (nf.planned.entry, nf.planned.name)]
        if not nfs:
            raise self._unknown(name)
        for nf in nfs:
            if not nf.child.is_alive:
                raise ControlError(f"{nf.name} {nf.outcome}")
        try:
            heads = await self._changes.promote(nfs[0].planned.entry)
        except PromotionError as error:
            raise ControlError(f"{name} {error}") from None
        except (ChangeError, ChildError) as error:
            raise ControlError(f"{name} stays in shadow: {error}") from None
        words = f"{name} is promoted: its verdicts count from {at_events(heads)} on"
        self._observer.note(words, _all_of(nfs[0]))
        return {"events": heads}

    def _unknown(self, name: str) -> ControlError:
        names = ", ".join(dict.fromkeys(one.entry for one in self._running.plan.nfs))
        return ControlError(f"there is no NF '{name}'; expected one of: {names}")

    def _named(self, name: str) -> list[Member]:
        """The NF's process, or those of its instances, in each lane, and the lane."""
        members = [(lane, nf) for lane in self._running.lanes for nf in lane.nfs]
        found = [(lane, nf) for lane, nf in members if nf.planned.entry == name]
        if not found:
            raise self._one_of_several(name, members) or self._unknown(name)
        for _, nf in found:
            if not nf.child.is_alive:
                raise ControlError(f"{nf.name} {nf.outcome}")
        return found

    def _one_of_several(self, name: str, members: Sequence[Member]) -> ControlError | None:
        for _, nf in members:
            if nf.planned.name == name:
                return ControlError(
                    f"{name} is one of several instances, which come and go together: "
                    f"name them '{nf.planned.entry}'"
                )
        return None


def at_events(heads: Sequence[int]) -> str:
    """Where in the logs of all lanes, for people."""
    numbers = ", ".join(f"{head:,}" for head in heads)
    return f"event {numbers}" if len(heads) == 1 else f"events {numbers} of the workers"


def _all_of(nf: RunningNF) -> Speaker:
    """The NF, whichever worker's packets its processes see."""
    return dataclasses.replace(nf.speaker, worker="")


def dispensable(lane: Lane, guest: RunningNF) -> list[RunningNF]:
    """Those that came with the guest and that nobody else reads."""
    party = [guest, *guest.companions]
    return [
        one
        for one in guest.companions
        if one.child.is_alive and all(reader in party for reader in lane.readers_of(one))
    ]


def in_full(error: ChildFailed) -> str:
    """What an NF says of why it cannot start."""
    parts = (str(error), error.failed.hint, error.failed.traceback)
    return "\n".join(part for part in parts if part)
