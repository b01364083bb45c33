"""A lane: one worker with its log, and the processes of the NFs that read it."""

from __future__ import annotations

import functools
import operator
import os
from dataclasses import dataclass, field

from microbox.chain.plan import PlannedNF
from microbox.channel.messages import Confined, Done, Finished, WorkerAreas
from microbox.runtime.accounts.counters import NFCounters, NFPages, WorkerPages
from microbox.runtime.inputs.capture import NOTHING, Written
from microbox.runtime.observer import Speaker
from microbox.runtime.partition import Partition
from microbox.runtime.processes.answers import Answers
from microbox.runtime.processes.supervisor import Child, ChildFailed, Exit


@dataclass(frozen=True, slots=True)
class Promotion:
    """How an NF left the shadow that it was in."""

    event: int  # position in the log
    edits: int  # packets that it had left edits of by then


@dataclass(eq=False, slots=True)
class Lives:
    """What came before the process that an NF is now."""

    restarts: int = 0
    counters: list[NFCounters] = field(default_factory=list)  # of each process before
    joined: int = 0  # position in the log at which the first one came
    missed: int = 0  # log positions at which there was none
    promoted: Promotion | None = None


@dataclass(eq=False, slots=True)
class RunningNF:
    """One NF: its place in the plan, its process, what is known of its end."""

    planned: PlannedNF
    child: Child
    area: int  # descriptor of its shared memory, for those who come later
    pages: NFPages
    answers: Answers
    confined: Confined
    finished: Finished | None = None
    failure: ChildFailed | None = None
    exit: Exit | None = None  # set when its process is gone
    complaint: str = ""  # why the controller ended it
    leaves: bool = False  # it was told to finish while the chain goes on
    is_replaced: bool = False  # and another process took its place
    is_guest: bool = False  # it came while packets flowed, and is none of the chain file's
    is_settled: bool = False  # of what was its own only the counters are left
    companions: list[RunningNF] = field(default_factory=list)  # that a guest brought, being needed
    lives: Lives = field(default_factory=Lives)

    @property
    def name(self) -> str:
        """The process's name, for people."""
        return self.child.name

    @property
    def speaker(self) -> Speaker:
        """Who is meant where something is said about it."""
        return Speaker(self.planned.name, self.child.speaker.worker, self.planned.stage)

    @property
    def outcome(self) -> str:
        """How it ended, in words that follow its name."""
        if self.complaint:
            return self.complaint
        if self.failure:
            return f"failed: {self.failure.failed.error}"
        if self.finished:
            return "left" if self.leaves else "finished"
        return str(self.exit) if self.exit else "runs"

    @property
    def is_judge(self) -> bool:
        """True where what the gate counted under its index is (also) its own."""
        is_real = not self.planned.is_shadow
        return self.planned.shape.is_inline and is_real and not self.is_replaced

    @property
    def was_shadow(self) -> bool:
        """True where what was counted of its index in shadow is (also) its own."""
        is_shadow = self.planned.is_shadow or self.lives.promoted is not None
        return is_shadow and not self.is_replaced

    def counters(self) -> NFCounters:
        """What it has counted in all its lives."""
        lives = self.lives.counters
        if not self.is_settled:
            lives = [*lives, self.pages.counters()]
        return functools.reduce(operator.add, lives)

    @property
    def progress(self) -> tuple[int, int, int]:
        """Numbers of which one changes whenever it gets anywhere."""
        value = self.pages.value
        return (self.pages.cursor, value("handled"), value("published"))

    def settle(self) -> None:
        """Keeps what it has counted, and nothing else: it has left, and its process is gone."""
        self.lives.counters.append(self.pages.counters())
        self.close()

    def close(self) -> None:
        """Unmaps its pages, when its process is gone and all is read."""
        if not self.is_settled:
            self.pages.close()
            os.close(self.area)
        self.is_settled = True


@dataclass(eq=False, slots=True)
class Lane:
    """What the controller holds of one worker. Lanes share no memory but the capture."""

    partition: Partition
    worker: Child
    answers: Answers  # of the worker
    areas: WorkerAreas
    shared: list[int]  # descriptors of log, capture and assembled datagrams
    counters: int  # likewise of the worker's counter page
    outputs: list[int]  # likewise of what the worker writes, where there is an output
    pages: WorkerPages
    nfs: list[RunningNF]  # in the order of their indexes; those that died stay
    left: list[RunningNF] = field(default_factory=list)  # in order, or another took their place
    hangs: bool = False  # the worker did not move and was ended
    done: Done | None = None  # the worker's last word
    is_lost: bool = False  # the worker is gone without it: the log ends where it is
    output_before: Written = NOTHING  # what was in the output when the worker began
    output_left: Written | None = None  # what was in it when the worker was lost

    @property
    def is_alive(self) -> bool:
        """True while any of its processes is."""
        return self.worker.is_alive or any(nf.child.is_alive for nf in self.nfs)

    @property
    def all_nfs(self) -> list[RunningNF]:
        """Those that left included, at the end."""
        return [*self.nfs, *self.left]

    def readers_of(self, nf: RunningNF) -> list[RunningNF]:
        """Those that read what it publishes."""
        return [one for one in self.nfs if nf.planned.index in one.planned.reads]

    def close(self) -> None:
        """Unmaps what the lane's processes shared, when they are gone."""
        self.pages.close()
        for nf in self.all_nfs:
            nf.close()
        for fd in (*self.shared, self.counters, *self.outputs):
            os.close(fd)
