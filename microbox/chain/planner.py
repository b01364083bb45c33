"""From a chain and the manifests of its NFs to all that is decided before the first packet.

Pure functions: no process is started, no file but the NFs' sources is read (for the column of an
error). What is derived here, and from what:

bits      One per NF and distinct filter; the first has no filter and always exists, since timers
          and system events come on it. One more per filter and type that can be switched on and off
          for a flow. Where an NF switches, those behind it that read what it publishes follow each
          of its bits with one of their own, which is switched together with it.
wanted    What the worker sets a bit for. First, what the bit delivers of the stack's types. Second,
          where an NF j reads what an NF i publishes, all that i is named for, under i's filters: so
          an entry that names i names j, and i may keep its own entries until j has passed. By
          induction along the chain this holds for publishers of publishers too. (Past a few
          filters, under no filter at all: being named too often is only slower.) Third, under a
          filter of j that delivers i's events, all that i is named for: so the mask of the entry
          that an event was published from says whether j's filter matches.
          And a derived type that counts is wanted under no filter too: what a flow's counters say
          must not depend on who reads it.
          Instances share out flows: each bit of one is set for its share alone. One that reads
          NF i's events is so named on what i is named for in its share, whatever its filters: the
          mask says whose share it is in. Where NF i takes batches, all instances are named, since
          what it publishes lies where the batch ends.
barrier   The earlier NFs that an NF waits for: those whose events it reads, and those that may drop
          packets that it reads of (for one in shadow: as soon as it is promoted). Who reads in
          batches also waits for those whom they wait for. All others run beside it. `after` in the
          chain file takes the place of the second: the NF waits for those that it names, and for
          those whom they wait for; and none of one `parallel` waits for another of it. Who is not
          waited for may drop what the NF sees.
modules   What the stack has to do, from the types that some bit delivers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from microbox.chain.closing import fails_closed, with_those_who_tell
from microbox.chain.derived import (
    Compiled,
    compiled_rules,
    counting_types,
    derived_by_nfs,
    derived_limit_errors,
    wanted_rules,
)
from microbox.chain.errors import ChainError, ChainErrors
from microbox.chain.filters import FilterFacts, FilterJudge, judge_filter
from microbox.chain.memory import budget_errors
from microbox.chain.model import Chain, ChainNF
from microbox.chain.module_needs import needed_modules
from microbox.chain.order import (
    are_parallel,
    order_errors,
    said_to_wait_for,
    side_by_side_errors,
)
from microbox.chain.plan import STREAM_TYPES, Plan, PlannedNF
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
    ALL_FLOWS,
    AreaShape,
    Bit,
    Manifest,
    Share,
    TypeDeclaration,
)
from microbox.events.catalog import Catalog, EventType

OWN_SLOTS = 16_384  # of a publisher's own log
RING_BYTES = 4 << 20  # of its data ring: a payload may have a quarter of it
EDIT_BYTES = 4 << 20  # of an editor's ring of replaced bytes
BATCH_CUT = 4096  # log positions that batches end at
FOLLOWERS_MAX = 8  # bits of one NF that only follow publishers
SHARE_KEYS = {"flow": 0, "hosts": 1}  # enum mb_share_key
SEVERAL = -1  # what a bit follows that follows more than one, and is never switched
COMMANDS_PER_PACKET = 4
COMMAND_SLOTS_MIN = 4096


def make_plan(
    chain: Chain,
    manifests: Sequence[Manifest],
    catalog: Catalog,
    judge: FilterJudge = judge_filter,
    known: Sequence[TypeDeclaration] = (),
) -> Plan:
    """The plan of a chain whose NFs are described by `manifests`, one each, in order.

    `catalog` has the built-in types; the manifests' own are added, behind those that are `known`.
    Raises ChainErrors with all that is wrong.
    """
    catalog, user_types, errors = user_catalog(chain, manifests, catalog, known)
    compiled, wrong = compiled_rules(chain, manifests, catalog)
    readers = _readers(chain, manifests, catalog)
    let_derive(readers, compiled)
    facts = _judged_filters(manifests, judge)
    errors += wrong + check_plan_inputs(chain, readers, facts) + order_errors(chain, readers)
    if errors:
        raise ChainErrors(errors)
    planner = _Planner(chain, readers, catalog, facts, counting_types(compiled))
    nfs = planner.planned()
    rules = wanted_rules(compiled, _types_wanted(nfs, catalog))
    too_much = side_by_side_errors(chain, nfs, planner.protocols)
    too_much += limit_errors(chain, [len(nf.bits) for nf in nfs])
    too_much += derived_limit_errors(chain, manifests, catalog, rules)
    if too_much:
        raise ChainErrors(too_much)
    plan = Plan(
        chain=chain,
        nfs=nfs,
        user_types=user_types,
        catalog=catalog,
        modules=needed_modules(
            [(nf.entry, nf.manifest, nf.bits) for nf in nfs if nf.is_first], catalog, chain.modules
        ),
        log_slots=chain.log_slots,
        settings=dict(chain.settings),
        hosts=list(chain.hosts),
        derived=list(rules.values()),
    )
    if over_budget := budget_errors(plan):
        raise ChainErrors(over_budget)
    return plan


def let_derive(readers: Sequence[Reader], compiled: Compiled) -> None:
    """Who publishes what others want something derived from publishes that, too."""
    wanted = {one for reader in readers for one in reader.delivered()}
    for reader in readers:
        reader.derives = derived_by_nfs(compiled, reader.publishes, wanted)
        reader.publishes |= reader.derives.keys()


def part_errors(
    chain: Chain,
    manifests: Sequence[Manifest],
    catalog: Catalog,
    judge: FilterJudge = judge_filter,
) -> list[ChainError]:
    """What is wrong with each of these NFs by itself, where others of the chain are unknown."""
    catalog, _, errors = user_catalog(chain, manifests, catalog)
    compiled, wrong = compiled_rules(chain, manifests, catalog)
    readers = _readers(chain, manifests, catalog)
    let_derive(readers, compiled)
    facts = _judged_filters(manifests, judge)
    return errors + wrong + check_plan_inputs(chain, readers, facts, is_whole=False)


def _readers(chain: Chain, manifests: Sequence[Manifest], catalog: Catalog) -> list[Reader]:
    return [
        Reader(manifest, catalog, is_shadow=nf.is_shadow)
        for nf, manifest in zip(chain.nfs, manifests, strict=True)
    ]


def _judged_filters(manifests: Iterable[Manifest], judge: FilterJudge) -> dict[str, FilterFacts]:
    filters = {handler.filter for one in manifests for handler in one.handlers if handler.filter}
    return {expression: judge(expression) for expression in sorted(filters)}


@dataclass(frozen=True, slots=True)
class _BitKey:
    """What tells one bit of an NF from its others."""

    filter: str = ""
    switch: str = ""  # the type that it is switched by, "": only with all others
    initially: bool = True
    follows: int | None = None  # the bit that it follows; SEVERAL
    for_all: bool = False  # not for the instance's share alone


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
        self._drafts: list[dict[_BitKey, _Draft]] = []
        self._bits: list[dict[_BitKey, Bit]] = []
        self._is_switched: list[bool] = []  # bits of it change while a flow lives
        self.protocols: list[frozenset[str]] = []  # what each NF reads packets of
        self._periods: list[set[int]] = []
        self._shares: list[Share] = []  # of the NFs
        self._bit_shares: list[Share] = []
        self._takes_batches: list[bool] = []
        self._timer = catalog.resolve(TIMER)
        self._end = catalog.resolve(END_OF_INPUT)
        self._checkpoint = catalog.resolve(CHECKPOINT)
        self._streams = {
            one
            for name in STREAM_TYPES
            for one in catalog.descendants(catalog.resolve(name))
            if one.is_by_stack
        }

    def planned(self) -> list[PlannedNF]:
        """All NFs. Each builds on those in front of it."""
        nfs: list[PlannedNF] = []
        for index, nf in enumerate(self._chain.nfs):
            nfs.append(self._planned(index, nf, nfs))
        would_close = [
            index
            for index, nf in enumerate(self._chain.nfs)
            if fails_closed(nf, self._readers[index].manifest)
        ]
        return with_those_who_tell(nfs, would_close)

    def _planned(self, index: int, nf: ChainNF, front: list[PlannedNF]) -> PlannedNF:
        reader = self._readers[index]
        manifest = reader.manifest
        self._shares.append(_share(index, nf))
        batches = any(handler.batch for handler in manifest.handlers)
        self._takes_batches.append(batches)
        drafts = self._own_drafts(index, reader)
        delivered = {one for draft in drafts.values() for one in draft.types}
        reads = [
            one
            for one in range(self._shares[index].first)
            if self._readers[one].publishes & delivered and reader.hears(self._readers[one])
        ]
        self.protocols.append(self._protocols_read(delivered, reads))
        because, would_wait = self._barrier(index, delivered, reads, front)
        if batches:
            self._wait_for_all_behind(because, front)
        self._is_switched.append(
            manifest.commands
            or any(self._is_switched[i] for i in reads)
            or any(self._drops_by_command(i) for i in (*because, *would_wait))
        )
        self._follow(index, drafts, reads)
        self._drafts.append(drafts)
        self._bits.append(
            {key: self._bit(index, key, draft, manifest) for key, draft in drafts.items()}
        )
        self._periods.append(
            {timer.period for timer in manifest.timers}.union(*(self._periods[i] for i in reads))
        )
        return PlannedNF(
            index=index,
            name=nf.name,
            entry=nf.entry,
            spread=nf.spread,
            share=self._shares[index],
            source=str(nf.source),
            parameters=nf.parameters,
            manifest=manifest,
            bits=list(self._bits[index].values()),
            periods=sorted(self._periods[index]),
            shape=self._shape(reader, front),
            barrier=sorted(because),
            barrier_because=because,
            reads=reads,
            stage=1 + max((front[one].stage for one in because), default=-1),
            cut=min(BATCH_CUT, self._chain.log_slots // 4) if batches else 0,
            added_because=nf.added_because,
            on_error=nf.on_error,
            skips=nf.skips,
            loses=_numbers(self._asked_for(index, reader)) if nf.skips else [],
            supervision=nf.supervision,
            fails_closed=fails_closed(nf, manifest) and not nf.is_shadow,
            is_shadow=nf.is_shadow,
            would_wait=would_wait,
            written=nf.written or nf.name,
            derives=list(reader.derives.values()),
            filters={key.filter: self._facts[key.filter] for key in drafts if key.filter},
        )

    def _shape(self, reader: Reader, front: list[PlannedNF]) -> AreaShape:
        manifest = reader.manifest
        return AreaShape(
            log_slots=self._chain.log_slots,
            own_slots=OWN_SLOTS if reader.publishes else 0,
            ring_bytes=RING_BYTES if reader.publishes else 0,
            is_inline=manifest.is_inline,
            command_slots=_command_slots(self._chain) if manifest.commands else 0,
            rewrites=manifest.rewrites_flows,
            editor=_editor_number(manifest, front),
            edit_bytes=EDIT_BYTES if manifest.edits == "payload" else 0,
        )

    def _drops_by_command(self, index: int) -> bool:
        manifest = self._readers[index].manifest
        return manifest.is_inline and manifest.commands

    def _own_drafts(self, index: int, reader: Reader) -> dict[_BitKey, _Draft]:
        """What the handlers get: first what has no filter and cannot be switched."""
        published = publishers_in_front(self._readers, self._shares[index].first)
        plain = _Draft(types={self._end}, wanted={self._end})
        drafts = {_BitKey(): plain}
        if reader.manifest.timers:
            plain.types.add(self._timer)
        if any(handler.batch for handler in reader.manifest.handlers):
            plain.wanted.add(self._checkpoint)
        for wish in reader.wishes:
            switch = wish.type.name if wish.handler.switch else ""
            key = _BitKey(wish.filter, switch, wish.handler.initially)
            draft = drafts.setdefault(key, _Draft())
            available = reader.available(wish, published)
            draft.types |= available
            draft.wanted |= {one for one in available if one.is_by_stack and one != self._timer}
        for draft in [*drafts.values()]:
            plain.wanted |= draft.wanted & self._counting
        return drafts

    def _asked_for(self, index: int, reader: Reader) -> set[EventType]:
        """What the NF's own handlers get; not what only the runtime reads."""
        published = publishers_in_front(self._readers, index)
        own = (wish for wish in reader.wishes if wish.handler.handler.isidentifier())
        asked_for = {one for wish in own for one in reader.available(wish, published)}
        return asked_for | ({self._timer} if reader.manifest.timers else set())

    def _follow(self, index: int, drafts: dict[_BitKey, _Draft], reads: list[int]) -> None:
        """What the module's docstring says under `wanted`, second and third."""
        own = list(drafts.items())
        is_switched = self._is_switched[index]
        is_shared = self._shares[index].count > 1
        for publisher in reads:
            published = self._readers[publisher].publishes
            named_for = self._drafts[publisher]
            packets = {
                one for draft in named_for.values() for one in draft.wanted if one.has_packet
            }
            for key, draft in own:
                if (key.filter or key.switch or is_shared) and draft.types & published:
                    draft.wanted |= packets
            for_all = is_shared and self._takes_batches[publisher]
            for key, followed in named_for.items():
                follower = self._follower(publisher, key, is_switched=is_switched, for_all=for_all)
                is_apart = self._are_apart(publisher, index) and not for_all
                foreign = packets if is_apart else set()
                drafts.setdefault(follower, _Draft()).wanted |= followed.wanted - foreign
        for_all = is_shared and any(self._takes_batches[i] for i in reads)
        is_own = not is_switched and not for_all
        _fold_followers(drafts, _BitKey() if is_own else _BitKey(follows=SEVERAL, for_all=for_all))

    def _follower(
        self, publisher: int, key: _BitKey, *, is_switched: bool, for_all: bool
    ) -> _BitKey:
        """The bit that follows a publisher's bit. Where nothing is ever switched the own bit with
        that filter does; else it is a bit of its own, which nobody switches but the publisher.

        What is published about a batch lies at the batch's end, whosever share that is in: all
        instances have to look there (`for_all`)."""
        if not is_switched and not for_all:
            return _BitKey(key.filter)
        follows = self._bits[publisher][key].bit if self._is_switched[publisher] else SEVERAL
        return _BitKey(key.filter, follows=follows, for_all=for_all)

    def _are_apart(self, one: int, other: int) -> bool:
        """True for instances, alike shared out, that have no flow in common."""
        a, b = self._shares[one], self._shares[other]
        return 1 < a.count == b.count and a.key == b.key and a.index != b.index

    def _bit(self, index: int, key: _BitKey, draft: _Draft, manifest: Manifest) -> Bit:
        bit = len(self._bit_shares)
        share = self._shares[index] if self._shares[index].count > 1 else ALL_FLOWS
        if key.for_all:
            share = ALL_FLOWS
        elif share is ALL_FLOWS and key.follows is not None and key.follows != SEVERAL:
            share = self._bit_shares[key.follows]
        self._bit_shares.append(share)
        return Bit(
            bit,
            key.filter,
            _numbers(draft.types),
            _numbers(draft.wanted),
            switch=key.switch,
            initially=key.initially,
            may_switch=manifest.commands and key.follows is None,
            follows=key.follows,
            share=share,
            guards=key.follows is not None
            or not self._is_switched[index]
            or bool(draft.types & self._streams),
        )

    def _protocols_read(self, delivered: set[EventType], reads: list[int]) -> frozenset[str]:
        own = (protocols_of(one.name) for one in delivered if one.is_by_stack)
        return frozenset().union(*own, *(self.protocols[i] for i in reads))

    def _barrier(
        self, index: int, delivered: set[EventType], reads: list[int], front: list[PlannedNF]
    ) -> tuple[dict[int, str], dict[int, str]]:
        """Who is waited for, and why; and who is to be once he is promoted."""
        said = said_to_wait_for(self._chain.nfs, index, front)
        because: dict[int, str] = {}
        would_wait: dict[int, str] = {}
        for earlier in range(self._shares[index].first):
            judges = self._may_change(earlier, index) if said is None else []
            if said is not None and earlier in said:
                judges = [said[earlier]]
            read = []
            if earlier in reads:
                shared = self._readers[earlier].publishes & delivered
                read = [f"reads its {', '.join(self._short_names(shared))}"]
            if judges and self._chain.nfs[earlier].is_shadow:
                would_wait[earlier] = "; ".join(read + judges)
                judges = []
            if read or judges:
                because[earlier] = "; ".join(read + judges)
        return because, would_wait

    def _may_change(self, earlier: int, index: int) -> list[str]:
        """What an earlier NF may do to packets that this one reads of."""
        nfs = self._chain.nfs
        common = self.protocols[earlier] & self.protocols[index]
        if are_parallel(nfs[earlier], nfs[index]) or not common:
            return []
        manifest = self._readers[earlier].manifest
        may = "edit" if manifest.edits else "drop"
        return [f"it may {may} {', '.join(sorted(common))}"] if manifest.is_inline else []

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


def _editor_number(manifest: Manifest, front: Sequence[PlannedNF]) -> int:
    """Among the NFs that edit packets, from 1; 0: it is none of them."""
    if not manifest.edits_packets:
        return 0
    return 1 + max((nf.shape.editor for nf in front), default=0)


def _share(index: int, nf: ChainNF) -> Share:
    if nf.spread is None:
        return Share(first=index)
    spread = nf.spread
    return Share(index - spread.index, spread.index, spread.count, SHARE_KEYS[spread.by])


def _fold_followers(drafts: dict[_BitKey, _Draft], into: _BitKey) -> None:
    """Bits are few: an NF that follows many filters is named regardless of them instead."""
    followers = [key for key, draft in drafts.items() if not draft.types]
    if len(followers) <= FOLLOWERS_MAX:
        return
    wanted = {one for key in followers for one in drafts.pop(key).wanted}
    drafts.setdefault(into, _Draft()).wanted |= wanted


def _command_slots(chain: Chain) -> int:
    """Room for four commands for each packet that may lie between cause and effect."""
    least = max(COMMANDS_PER_PACKET * chain.settings["command_delay"], COMMAND_SLOTS_MIN)
    return 1 << (least - 1).bit_length()


def _numbers(types: Iterable[EventType]) -> list[int]:
    return sorted(one.number for one in types)


def _types_wanted(nfs: Sequence[PlannedNF], catalog: Catalog) -> set[EventType]:
    return {catalog.by_number(number) for nf in nfs for bit in nf.bits for number in bit.wanted}
