"""From a chain and the manifests of its NFs to all that is decided before the first packet.

Pure functions: no process is started, no file but the NFs' sources is read (for the column of an
error). What is derived here, and from what:

bits      One per NF and distinct filter; the first has no filter and always exists, since timers
          and system events come on it.
wanted    What the worker sets a bit for. First, what the bit delivers of the stack's types. Second,
          where an NF j reads what an NF i publishes, all that i is named for, under i's filters: so
          an entry that names i names j, and i may keep its own entries until j has passed. By
          induction along the chain this holds for publishers of publishers too. (Past a few
          filters, under no filter at all: being named too often is only slower.) Third, under a
          filter of j that delivers i's events, all that i is named for: so the mask of the entry
          that an event was published from says whether j's filter matches.
          And a derived type that counts is wanted under no filter too: what a flow's counters say
          must not depend on who reads it.
barrier   The earlier NFs that an NF waits for: those whose events it reads, and those that may drop
          packets that it reads of. Who reads in batches also waits for those whom they wait
          for. All others run beside it.
modules   What the stack has to do, from the types that some bit delivers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from microbox.chain.derived import (
    compiled_rules,
    counting_types,
    derived_limit_errors,
    wanted_rules,
)
from microbox.chain.errors import ChainError, ChainErrors
from microbox.chain.filters import FilterFacts, FilterJudge, judge_filter
from microbox.chain.model import Chain, ChainModule, ChainNF
from microbox.chain.plan_errors import check_plan_inputs, limit_errors
from microbox.chain.protocols import protocols_of
from microbox.chain.subscriptions import (
    CHECKPOINT,
    END_OF_INPUT,
    TIMER,
    Reader,
    publishers_in_front,
    short_name,
)
from microbox.chain.user_types import user_catalog
from microbox.channel.messages import (
    AreaShape,
    Bit,
    HostNetwork,
    Manifest,
    ModuleFile,
    TypeDeclaration,
    WorkerDerivedType,
    WorkerSubscription,
    WorkerTimer,
)
from microbox.events.catalog import Catalog, EventType

OWN_SLOTS = 16_384  # of a publisher's own log
RING_BYTES = 4 << 20  # of its data ring: a payload may have a quarter of it
BATCH_CUT = 4096  # log positions that batches end at
FOLLOWERS_MAX = 8  # bits of one NF that only follow publishers

_PAGE = 4096
_ENTRY_SIZE = 192  # MB_ENTRY_SIZE
_NF_ENTRY_SIZE = 256  # MB_NF_ENTRY_SIZE
_COUNTER_PAGES = 2

# producer → module of the stack as users write it, and the modules that it builds on
MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "tcp_monitor": ("tcp.monitor", ()),
    "tcp_stream": ("tcp.stream", ("tcp_monitor",)),
    "udp": ("udp", ()),
    "icmp": ("icmp", ()),
    "flow": ("flow", ()),
}


@dataclass(frozen=True)
class PlannedNF:
    """One NF's place in the plan."""

    index: int
    name: str
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
    fails_closed: bool
    written: str
    filters: dict[str, FilterFacts] = field(default_factory=dict)

    @property
    def is_inline(self) -> bool:
        """True where it may drop packets."""
        return self.manifest.is_inline


@dataclass(frozen=True, slots=True)
class ModuleNeed:
    """A module of the stack, and who causes it to run: NF and type as its handler names it."""

    name: str
    because: tuple[tuple[str, str], ...]


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
        """Names of all NFs, by index."""
        return [nf.name for nf in self.nfs]

    def stages(self) -> list[list[PlannedNF]]:
        """The NFs by stage; those of one stage run in parallel."""
        last = max((nf.stage for nf in self.nfs), default=-1)
        return [[nf for nf in self.nfs if nf.stage == stage] for stage in range(last + 1)]

    def worker_subscriptions(self) -> list[WorkerSubscription]:
        """What the worker sets the bits for, in the order of the bits."""
        return [
            WorkerSubscription(nf.index, bit.bit, bit.filter, bit.wanted)
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

    def memory(self) -> dict[str, int]:
        """Bytes of shared memory by holder: the log, then each NF's area."""
        sizes = {"log": _PAGE + self.log_slots * _ENTRY_SIZE}
        for nf in self.nfs:
            sizes[nf.name] = area_size(nf.shape)
        return sizes


def area_size(shape: AreaShape) -> int:
    """Bytes of an NF's area (mb_nf_area_size)."""
    verdicts = shape.log_slots if shape.is_inline else 0
    own = shape.own_slots * _NF_ENTRY_SIZE + shape.ring_bytes
    return (1 + _COUNTER_PAGES) * _PAGE + verdicts + own


def make_plan(
    chain: Chain,
    manifests: Sequence[Manifest],
    catalog: Catalog,
    judge: FilterJudge = judge_filter,
) -> Plan:
    """The plan of a chain whose NFs are described by `manifests`, one each, in order.

    `catalog` has the built-in types; the manifests' own are added. Raises ChainErrors with all
    that is wrong.
    """
    catalog, user_types, errors = user_catalog(chain, manifests, catalog)
    compiled, wrong = compiled_rules(chain, manifests, catalog)
    readers = [Reader(manifest, catalog) for manifest in manifests]
    facts = _judged_filters(manifests, judge)
    errors += wrong + check_plan_inputs(chain, readers, facts)
    if errors:
        raise ChainErrors(errors)
    nfs = _Planner(chain, readers, catalog, facts, counting_types(compiled)).planned()
    rules = wanted_rules(compiled, _types_wanted(nfs, catalog))
    too_much = limit_errors(chain, [len(nf.bits) for nf in nfs])
    too_much += derived_limit_errors(chain, manifests, catalog, rules)
    if too_much:
        raise ChainErrors(too_much)
    return Plan(
        chain=chain,
        nfs=nfs,
        user_types=user_types,
        catalog=catalog,
        modules=needed_modules(nfs, catalog, chain.modules),
        log_slots=chain.log_slots,
        settings=dict(chain.settings),
        hosts=list(chain.hosts),
        derived=list(rules.values()),
    )


def part_errors(
    chain: Chain,
    manifests: Sequence[Manifest],
    catalog: Catalog,
    judge: FilterJudge = judge_filter,
) -> list[ChainError]:
    """What is wrong with each of these NFs by itself, where others of the chain are unknown."""
    catalog, _, errors = user_catalog(chain, manifests, catalog)
    _, wrong = compiled_rules(chain, manifests, catalog)
    readers = [Reader(manifest, catalog) for manifest in manifests]
    facts = _judged_filters(manifests, judge)
    return errors + wrong + check_plan_inputs(chain, readers, facts, is_whole=False)


def _judged_filters(manifests: Iterable[Manifest], judge: FilterJudge) -> dict[str, FilterFacts]:
    filters = {handler.filter for one in manifests for handler in one.handlers if handler.filter}
    return {expression: judge(expression) for expression in sorted(filters)}


@dataclass
class _Draft:
    """A bit that is being worked out."""

    types: set[EventType] = field(default_factory=set)
    wanted: set[EventType] = field(default_factory=set)


class _Planner:
    def __init__(
        self,
        chain: Chain,
        readers: Sequence[Reader],
        catalog: Catalog,
        facts: Mapping[str, FilterFacts],
        counting: frozenset[EventType],
    ) -> None:
        self._chain = chain
        self._readers = readers
        self._catalog = catalog
        self._facts = {" ".join(written.split()): fact for written, fact in facts.items()}
        self._counting = counting
        self._drafts: list[dict[str, _Draft]] = []
        self._protocols: list[frozenset[str]] = []
        self._periods: list[set[int]] = []
        self._next_bit = 0
        self._timer = catalog.resolve(TIMER)
        self._end = catalog.resolve(END_OF_INPUT)
        self._checkpoint = catalog.resolve(CHECKPOINT)

    def planned(self) -> list[PlannedNF]:
        """All NFs. Each builds on those in front of it."""
        nfs: list[PlannedNF] = []
        for index, nf in enumerate(self._chain.nfs):
            nfs.append(self._planned(index, nf, nfs))
        closed = _failing_closed(nfs)
        return [nf if nf.index not in closed else _closed(nf) for nf in nfs]

    def _planned(self, index: int, nf: ChainNF, front: list[PlannedNF]) -> PlannedNF:
        reader = self._readers[index]
        manifest = reader.manifest
        drafts = self._own_drafts(index, reader)
        delivered = {one for draft in drafts.values() for one in draft.types}
        reads = [one.index for one in front if self._readers[one.index].publishes & delivered]
        self._follow(drafts, reads)
        self._drafts.append(drafts)
        self._periods.append(
            {timer.period for timer in manifest.timers}.union(*(self._periods[i] for i in reads))
        )
        self._protocols.append(self._protocols_read(delivered, reads))
        because = self._barrier(index, delivered, reads)
        batches = any(handler.batch for handler in manifest.handlers)
        if batches:
            self._wait_for_all_behind(because, front)
        return PlannedNF(
            index=index,
            name=nf.name,
            source=str(nf.source),
            parameters=nf.parameters,
            manifest=manifest,
            bits=[self._bit(expression, draft) for expression, draft in drafts.items()],
            periods=sorted(self._periods[index]),
            shape=AreaShape(
                log_slots=self._chain.log_slots,
                own_slots=OWN_SLOTS if reader.publishes else 0,
                ring_bytes=RING_BYTES if reader.publishes else 0,
                is_inline=manifest.is_inline,
            ),
            barrier=sorted(because),
            barrier_because=because,
            reads=reads,
            stage=1 + max((front[one].stage for one in because), default=-1),
            cut=min(BATCH_CUT, self._chain.log_slots // 4) if batches else 0,
            added_because=nf.added_because,
            on_error=nf.on_error,
            fails_closed=manifest.is_inline and nf.on_failure != "open",
            written=nf.written or nf.name,
            filters={one: self._facts[one] for one in drafts if one},
        )

    def _own_drafts(self, index: int, reader: Reader) -> dict[str, _Draft]:
        """By filter, "" first: what the handlers get."""
        published = publishers_in_front(self._readers, index)
        drafts = {"": _Draft(types={self._end}, wanted={self._end})}
        if reader.manifest.timers:
            drafts[""].types.add(self._timer)
        if any(handler.batch for handler in reader.manifest.handlers):
            drafts[""].wanted.add(self._checkpoint)
        for wish in reader.wishes:
            draft = drafts.setdefault(wish.filter, _Draft())
            available = reader.available(wish, published)
            draft.types |= available
            draft.wanted |= {one for one in available if one.is_by_stack and one != self._timer}
        for draft in [*drafts.values()]:
            drafts[""].wanted |= draft.wanted & self._counting
        return drafts

    def _follow(self, drafts: dict[str, _Draft], reads: list[int]) -> None:
        """What the module's docstring says under `wanted`, second and third."""
        for publisher in reads:
            published = self._readers[publisher].publishes
            named_for = self._drafts[publisher]
            packets = {
                one for draft in named_for.values() for one in draft.wanted if one.has_packet
            }
            for expression, draft in drafts.items():
                if expression and draft.types & published:
                    draft.wanted |= packets
            for expression, followed in named_for.items():
                drafts.setdefault(expression, _Draft()).wanted |= followed.wanted
        _fold_followers(drafts)

    def _bit(self, expression: str, draft: _Draft) -> Bit:
        bit = self._next_bit
        self._next_bit += 1
        return Bit(bit, expression, _numbers(draft.types), _numbers(draft.wanted))

    def _protocols_read(self, delivered: set[EventType], reads: list[int]) -> frozenset[str]:
        own = (protocols_of(one.name) for one in delivered if one.is_by_stack)
        return frozenset().union(*own, *(self._protocols[i] for i in reads))

    def _barrier(self, index: int, delivered: set[EventType], reads: list[int]) -> dict[int, str]:
        """Who is waited for, and why."""
        because: dict[int, str] = {}
        for earlier in range(index):
            reasons = []
            if earlier in reads:
                shared = self._readers[earlier].publishes & delivered
                reasons.append(f"reads its {', '.join(self._short_names(shared))}")
            common = self._protocols[earlier] & self._protocols[index]
            if self._readers[earlier].manifest.is_inline and common:
                reasons.append(f"it may drop {', '.join(sorted(common))}")
            if reasons:
                because[earlier] = "; ".join(reasons)
        return because

    @staticmethod
    def _wait_for_all_behind(because: dict[int, str], front: list[PlannedNF]) -> None:
        """A batch is waited for as a whole. It ends early where somebody might wait for this NF
        meanwhile, which only their own logs tell: those whom it waits for and those behind them."""
        for earlier in reversed(front):
            if earlier.index not in because:
                continue
            for one in earlier.barrier:
                because.setdefault(one, f"{earlier.name} waits for it")

    def _short_names(self, types: Iterable[EventType]) -> list[str]:
        ordered = sorted(types, key=lambda one: one.number)
        return [short_name(one, self._catalog) for one in ordered]


def _fold_followers(drafts: dict[str, _Draft]) -> None:
    """Bits are few: an NF that follows many filters is named regardless of them instead."""
    followers = [expression for expression, draft in drafts.items() if not draft.types]
    if len(followers) <= FOLLOWERS_MAX:
        return
    for expression in followers:
        drafts[""].wanted |= drafts.pop(expression).wanted


def _numbers(types: Iterable[EventType]) -> list[int]:
    return sorted(one.number for one in types)


def _failing_closed(nfs: Sequence[PlannedNF]) -> set[int]:
    """Those whose death must stop packets: an NF that judges by what a dead publisher would have
    told it is blind, which is no better than its being dead itself."""
    closed = {nf.index for nf in nfs if nf.fails_closed}
    for nf in reversed(nfs):
        if nf.index in closed:
            closed.update(nf.reads)
    return closed


def _closed(nf: PlannedNF) -> PlannedNF:
    """The gate waits for a publisher that fails closed as for an NF that judges, though it lets
    everything pass while it lives."""
    return replace(nf, fails_closed=True, shape=replace(nf.shape, is_inline=True))


def needed_modules(
    nfs: Sequence[PlannedNF], catalog: Catalog, users: Sequence[ChainModule] = ()
) -> list[ModuleNeed]:
    """The stack's modules in the order in which they run, with the subscriptions behind each."""
    modules = MODULES | {f"module_{one.name}": (one.name, _needs_of(one)) for one in users}
    causes: dict[str, list[tuple[str, str]]] = {producer: [] for producer in modules}
    for nf in nfs:
        for producer, written in _module_causes(nf, catalog, modules):
            for needed in (*modules[producer][1], producer):
                if (nf.name, written) not in causes[needed]:
                    causes[needed].append((nf.name, written))
    return [
        ModuleNeed(modules[producer][0], tuple(because))
        for producer, because in causes.items()
        if because
    ]


def _needs_of(module: ChainModule) -> tuple[str, ...]:
    """Producers of the built-in modules that a user's builds on."""
    direct = [one for bit, one in enumerate(MODULES) if module.needs >> bit & 1]
    below = [needed for one in direct for needed in MODULES[one][1]]
    return tuple(dict.fromkeys([*below, *direct]))


def _module_causes(
    nf: PlannedNF, catalog: Catalog, modules: Mapping[str, object]
) -> list[tuple[str, str]]:
    """Pairs of a producer and the subscription that needs it. Packets need no module."""
    numbers = {number for bit in nf.bits for number in bit.types}
    return [
        (source.producer, short_name(named, catalog))
        for handler in nf.manifest.handlers
        for named in map(catalog.resolve, handler.types)
        for one in catalog.delivered(named)
        if one.number in numbers
        for source in (catalog.bases(one) if one.is_derived else (one,))
        if source.producer in modules
    ]


def _types_wanted(nfs: Sequence[PlannedNF], catalog: Catalog) -> set[EventType]:
    return {catalog.by_number(number) for nf in nfs for bit in nf.bits for number in bit.wanted}
