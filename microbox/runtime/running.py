"""A run: its chain, how it is to go, and its lanes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from microbox.chain.listening import Address
from microbox.chain.model import Chain
from microbox.chain.plan import Plan
from microbox.runtime.inputs.capture import Capture
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.service_manager import ServiceManager


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a child, in seconds."""

    start: float = 60.0  # for each answer before packets flow
    waiting_note: float = 5.0  # without any movement, before it is said who is waited for
    drain: float = 60.0  # without any movement once the input is over
    stop: float = 10.0  # the same once the run is to end early
    pause: float = 10.0  # until all NFs have read what there is, so that one may come or go
    meet: float = 5.0  # until an NF has mapped what another one shares


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a chain, beside what the chain says."""

    capture: Capture  # the caller's
    log_directory: Path  # exists
    packet_limit: int = 0  # 0: all
    pace: int = 0  # thousandths of the speed of the capture; 0: as fast as can be
    patience: Patience = field(default_factory=Patience)
    read_anew: Callable[[], Plan] | None = None  # the plan of the chain file as it is now; raises
    # ChainErrors. None: there is no such file
    metrics: Address | None = None  # where they are asked for; None: nowhere
    service_manager: ServiceManager = field(default_factory=ServiceManager)


@dataclass(eq=False, slots=True)
class Running:
    """All processes of a run, connected."""

    chain: Chain
    options: RunOptions
    plan: Plan  # of the NFs that are there now, in each lane
    lanes: list[Lane]  # one for each worker
    output: list[int]  # descriptor of the output; [] where there is none
    past: list[Lane] = field(default_factory=list)  # whose workers died, another went on

    @property
    def all_lanes(self) -> list[Lane]:
        """In the order in which they began."""
        return [*self.past, *self.lanes]

    @property
    def nfs(self) -> list[RunningNF]:
        """Of all lanes."""
        return [nf for lane in self.lanes for nf in lane.nfs]

    def close(self) -> None:
        """Unmaps what all processes shared, when they are gone."""
        for lane in self.all_lanes:
            lane.close()
        for fd in self.output:
            os.close(fd)
