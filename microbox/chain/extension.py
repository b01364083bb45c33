"""A further NF for a plan that runs: it comes behind all others, and those stay as they are.

The chain is planned anew with the NF at its end. Since each NF is planned from those in front of
it, those that run come out as they are; where one would not, the NF cannot come. What an NF that
has left had (its index, its bits) is used again when it is the last; until then it keeps its place
in the chain, with nothing that it reads or publishes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from microbox.chain.additions import Addition, missing_alert_log, missing_parser
from microbox.chain.errors import NOWHERE, ChainError, ChainErrors
from microbox.chain.filters import FilterJudge, judge_filter
from microbox.chain.model import Chain, ChainNF
from microbox.chain.plan import Plan, PlannedNF
from microbox.chain.planner import make_plan
from microbox.chain.subscriptions import Reader
from microbox.chain.user_types import user_catalog
from microbox.channel.messages import Manifest
from microbox.events.catalog import built_in

IN_THE_CHAIN_FILE = "put it into the chain file, and run the chain anew"


class Extension:
    """A plan that is being extended by one NF, and those that it needs."""

    def __init__(self, plan: Plan, left: Sequence[PlannedNF], nf: ChainNF) -> None:
        """`left`: NFs that have left, the last ones last. Raises ChainErrors where the NF's name
        is taken."""
        self._plan = plan
        present = {one.index: one for one in plan.nfs}
        held = {one.index: one for one in left} | present
        places = _places(plan.chain, present.keys(), held, nf.name)
        if nf.name in {name for one in plan.nfs for name in (one.name, one.entry)}:
            message = f"the chain has an NF '{nf.name}'; expected another name"
            raise ChainErrors([_about(nf, message, f"for example --name {nf.name}_2")])
        self._nf = nf
        self._present = present
        self.first = len(places)
        """Index of the first NF that is new."""
        self._chain = replace(plan.chain, nfs=(*_as_they_are(places, present), nf))
        self._editors = max((one.shape.editor for one in held.values()), default=0)
        self._held = [held[index].manifest for index in range(len(places))]

    def next_addition(self, manifests: Sequence[Manifest]) -> Addition | None:
        """The next NF that the new ones need beside them; None where nothing is missing.
        `manifests` of all that are new. Put it in and ask again."""
        everybody = [*self._shown(), *manifests]
        catalog, _, _ = user_catalog(self._chain, everybody, built_in(), self._plan.user_types)
        readers = [Reader(manifest, catalog) for manifest in everybody]
        addition = missing_parser(self._chain, readers, catalog)
        if addition is not None and addition.before >= self.first:
            return addition
        # Whoever takes alerts to people in front of it does not see those of the new NF.
        unseen = [Reader(_silent(manifest), catalog) for manifest in self._held]
        return missing_alert_log(self._chain, [*unseen, *readers[self.first :]])

    def insert(self, addition: Addition) -> int:
        """Puts it in; its place among the new ones."""
        self._chain = self._chain.inserting(addition.before, addition.nf)
        return addition.before - self.first

    def plan(self, manifests: Sequence[Manifest], judge: FilterJudge = judge_filter) -> Plan:
        """The plan with the new NFs. Raises ChainErrors with all that is wrong with them."""
        try:
            extended = self._planned(manifests, judge)
        except ChainErrors as wrong:
            raise ChainErrors(self._placed(error) for error in wrong.errors) from None
        errors = [
            *self._not_last(extended),
            *self._without_room(extended),
            *self._changes(extended),
        ]
        if errors:
            raise ChainErrors(errors)
        stay = [replace(nf, derives=extended.nfs[nf.index].derives) for nf in self._plan.nfs]
        return replace(extended, nfs=[*stay, *extended.nfs[self.first :]])

    def _planned(self, manifests: Sequence[Manifest], judge: FilterJudge) -> Plan:
        known = self._plan.user_types
        shown, held = self._shown(), self._held
        if shown != held:  # what only those published that have left is published no more
            make_plan(self._chain, [*shown, *manifests], built_in(), judge, known)
        return make_plan(self._chain, [*held, *manifests], built_in(), judge, known)

    def _shown(self) -> list[Manifest]:
        return [
            manifest if index in self._present else _silent(manifest)
            for index, manifest in enumerate(self._held)
        ]

    def _placed(self, error: ChainError) -> ChainError:
        """What is said of the chain file, but of no line in it, is about the new NF."""
        if error.file != self._chain.file or error.line:
            return error
        return replace(error, file=str(self._nf.source))

    def _not_last(self, extended: Plan) -> Iterator[ChainError]:
        """Who may change packets has to be waited for by those behind it, and they run."""
        if self._nf.after is None:
            return
        for nf in extended.nfs[self.first :]:
            if nf.name == self._nf.name and nf.is_inline:
                yield _about(
                    self._nf,
                    f"'{nf.name}' may drop packets, and those that run would have to wait for it; "
                    "expected --stage last",
                    f"or {IN_THE_CHAIN_FILE}",
                )

    def _without_room(self, extended: Plan) -> Iterator[ChainError]:
        """Edited frames lie in memory that is made before the first packet."""
        for nf in extended.nfs[self.first :]:
            if nf.shape.editor > self._editors:
                yield _about(
                    self._nf,
                    f"'{nf.name}' edits packets, and the chain that runs has room for "
                    f"{self._editors} NFs that do",
                    IN_THE_CHAIN_FILE,
                )

    def _changes(self, extended: Plan) -> Iterator[ChainError]:
        """What would have to change of those that run."""
        derived = {one.type for one in self._plan.derived}
        for one in extended.derived:
            if one.type not in derived:
                name = extended.catalog.by_number(one.type).name
                yield _about(
                    self._nf,
                    f"nobody of the chain reads '{name}', and what the stack filters is settled "
                    "before the first packet",
                    IN_THE_CHAIN_FILE,
                )
        for old in self._plan.nfs:
            new = extended.nfs[old.index]
            if new.fails_closed and not old.fails_closed:
                yield _about(
                    self._nf,
                    f"it is to fail closed and reads what '{old.name}' publishes, which would "
                    "have to fail closed too; expected --on-failure open",
                )
            elif _without_what_is_told(new) != _without_what_is_told(old):
                yield _about(
                    self._nf,
                    f"with it '{old.name}', which runs, would get other events",
                    IN_THE_CHAIN_FILE,
                )


def _places(
    chain: Chain, present: Collection[int], held: dict[int, PlannedNF], name: str
) -> tuple[ChainNF, ...]:
    """The NFs of the chain without the places at its end that are free. What the gate counted of an
    NF that judged stays its own, unless the same one comes again."""
    nfs = chain.nfs
    while nfs and len(nfs) - 1 not in present:
        last = held[len(nfs) - 1]
        if last.shape.is_inline and last.name != name:
            break
        nfs = nfs[:-1]
    return nfs


def _without_what_is_told(nf: PlannedNF) -> PlannedNF:
    """What it derives it can be told while it runs. It may fail closed for one that has left."""
    return replace(nf, derives=[], fails_closed=False, shape=replace(nf.shape, is_inline=False))


def _as_they_are(places: Sequence[ChainNF], present: Mapping[int, PlannedNF]) -> list[ChainNF]:
    """Some may have been in shadow when the chain began."""
    return [
        replace(one, is_shadow=present[index].is_shadow) if index in present else one
        for index, one in enumerate(places)
    ]


def _silent(manifest: Manifest) -> Manifest:
    return replace(manifest, handlers=[], timers=[], publishes=[])


def _about(nf: ChainNF, message: str, hint: str = "") -> ChainError:
    return ChainError.at(str(nf.source), NOWHERE, message, hint)
