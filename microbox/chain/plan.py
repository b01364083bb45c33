"""The plan of a chain: all that is decided before the first packet, as planner.py derives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from microbox.chain.filters import FilterFacts
from microbox.chain.memory import MemoryPart, memory_parts
from microbox.chain.model import Chain, Spread
from microbox.chain.module_needs import ModuleNeed, modules_of
from microbox.chain.supervision import NO_SUPERVISION, Supervision
from microbox.channel.messages import (
    AreaShape,
    Bit,
    HandlerDeclaration,
    HostNetwork,
    Manifest,
    ModuleFile,
    Share,
    Subscribe,
    TypeDeclaration,
    WorkerDerivedType,
    WorkerSubscription,
    WorkerSwitch,
    WorkerTimer,
)
from microbox.events.catalog import Catalog, EventType

STREAM_TYPES = ("flow.tcp.data", "flow.tcp.gap")


@dataclass(frozen=True)
class PlannedNF:
    """One NF's place in the plan."""

    index: int
    name: str  # of the process
    entry: str  # of the NF in the chain, which may be several processes
    spread: Spread | None  # which of them; None: it is one
    share: Share  # of the flows
    source: str
    parameters: dict[str, Any]
    manifest: Manifest
    bits: list[Bit]
    periods: list[int]  # nanoseconds; timers that it is named for: its own and followed ones
    shape: AreaShape
    barrier: list[int]  # earlier NFs that it waits for
    barrier_because: dict[int, str]
    reads: list[int]  # earlier NFs whose events it merges in
    stage: int  # longest way through barriers from the start of the chain
    cut: int  # log positions that batches end at; 0: no batches
    added_because: str  # "" where the chain file names it
    on_error: str  # "stop" | "skip"
    skips: bool  # on_lag: skip
    loses: list[int]  # types that count as lost where it skips; [] where it does not
    fails_closed: bool
    is_shadow: bool  # its verdicts are counted, and nothing comes of them
    would_wait: dict[int, str]  # NFs in shadow, for when they are promoted, and why
    written: str
    supervision: Supervision = NO_SUPERVISION
    filters: dict[str, FilterFacts] = field(default_factory=dict)
    derives: list[WorkerDerivedType] = field(default_factory=list)  # from what it publishes

    @property
    def is_inline(self) -> bool:
        """True where it may drop packets."""
        return self.manifest.is_inline and not self.is_shadow

    @property
    def is_first(self) -> bool:
        """True for one of several instances alone."""
        return self.share.index == 0


@dataclass(frozen=True)
class Plan:
    """All that is decided before the first packet."""

    chain: Chain
    nfs: list[PlannedNF]
    user_types: list[TypeDeclaration]  # numbered from the count of built-in types on
    catalog: Catalog  # with the users' types
    modules: list[ModuleNeed]
    log_slots: int
    settings: dict[str, int]  # fields of struct mb_stack_config
    hosts: list[HostNetwork]
    derived: list[WorkerDerivedType]  # those that somebody reads, and their parents

    @property
    def names(self) -> list[str]:
        """Names of all NFs, by index; "" where one was that has left."""
        names = {nf.index: nf.name for nf in self.nfs}
        return [names.get(index, "") for index in range(max(names, default=-1) + 1)]

    def stages(self) -> list[list[PlannedNF]]:
        """The NFs by stage; those of one stage run in parallel."""
        last = max((nf.stage for nf in self.nfs), default=-1)
        return [[nf for nf in self.nfs if nf.stage == stage] for stage in range(last + 1)]

    def worker_subscriptions(self) -> list[WorkerSubscription]:
        """What the worker sets the bits for, in the order of the bits."""
        return [
            WorkerSubscription(
                nf.index,
                bit.bit,
                bit.filter,
                bit.wanted,
                bit.share,
                sorted({*bit.types} & {*nf.loses}),
                bit.guards,
            )
            for nf in self.nfs
            for bit in nf.bits
        ]

    def worker_modules(self) -> list[ModuleFile]:
        """The users' modules, with the numbers of their types."""
        return [
            ModuleFile(
                str(one.source.absolute()),
                [self.catalog.by_name[declared.name].number for declared in one.types],
            )
            for one in self.chain.modules
        ]

    def worker_timers(self) -> list[WorkerTimer]:
        """Each period once, with the bits that it is to be told on."""
        periods = sorted({period for nf in self.nfs for period in nf.periods})
        return [
            WorkerTimer(period, [nf.bits[0].bit for nf in self.nfs if period in nf.periods])
            for period in periods
        ]

    def modules_of(self, handler: HandlerDeclaration) -> dict[str, list[str]]:
        """The modules that a flow runs for this handler, by transport."""
        return modules_of(handler, self.catalog, self.chain.modules)

    def worker_switches(self) -> list[WorkerSwitch]:
        """What NFs may switch on and off for a flow, each with the bits that follow it."""
        return [
            WorkerSwitch(
                nf.index, k, self._with_followers({bit.bit}), bit.initially, self._drops(nf)
            )
            for nf in self.nfs
            for k, bit in enumerate(nf.bits)
            if bit.may_switch
        ]

    def _with_followers(self, bits: set[int]) -> list[int]:
        """These, the bits of later NFs that follow them, and those that follow those."""
        found = set(bits)
        for nf in self.nfs:
            found.update(each.bit for each in nf.bits if each.follows in found)
        return sorted(found)

    def _drops(self, dropper: PlannedNF) -> list[int]:
        """What a drop of a flow by this NF switches off: the own bits of those that wait for it.
        By the others they go on to see what NFs before it say."""
        if not dropper.is_inline:
            return []
        behind = [nf for nf in self.nfs if dropper.index in nf.barrier]
        own = {bit.bit for nf in behind for bit in nf.bits if not self._shows_published(nf, bit)}
        return self._with_followers(own)

    def _shows_published(self, nf: PlannedNF, bit: Bit) -> bool:
        """True where the NF needs the bit in a mask to get what an NF published from the entry:
        one that follows the publisher, or says whether the entry is the NF's (filter, share)."""
        if bit.follows is not None:
            return True
        is_narrow = bool(bit.filter or bit.switch) or nf.share.count > 1
        return is_narrow and any(not self.catalog.by_number(one).is_by_stack for one in bit.types)

    def subscribe(self) -> Subscribe:
        """All that the worker is told of what NFs want."""
        return Subscribe(self.worker_subscriptions(), self.worker_timers(), self.worker_switches())

    @property
    def editors(self) -> int:
        """How many NFs edit packets: their numbers go up to this one."""
        return max((nf.shape.editor for nf in self.nfs), default=0)

    def command_delay(self, nf: PlannedNF) -> int:
        """Packets until a command of the NF takes effect; 0: it gives none."""
        return self.settings["command_delay"] if nf.manifest.commands else 0

    def stream_types(self) -> list[int]:
        """Types that carry bytes of a stream, or say that some will never come."""
        found = {
            one.number
            for name in STREAM_TYPES
            for one in self.catalog.descendants(self.catalog.resolve(name))
        }
        return sorted(found)

    def derived_types(self) -> list[tuple[EventType, bool]]:
        """All types that have conditions, and whether somebody reads them or what is below."""
        read = {one.type for one in self.derived}
        read |= {one.type for nf in self.nfs for one in nf.derives}
        return [(one, one.number in read) for one in self.catalog.types if one.is_derived]

    def memory(self) -> list[MemoryPart]:
        """What each worker, with its NFs, takes at the chain's limits."""
        return memory_parts(self)
