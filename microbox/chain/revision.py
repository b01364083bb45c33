"""From a plan that runs to what its file says now, as far as that can be done while it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from microbox.chain.describe import NotDescribed
from microbox.chain.difference import Difference, Entry, Said, of_nf, of_settings, said_by
from microbox.chain.errors import ChainErrors
from microbox.chain.extension import Extension
from microbox.chain.model import ChainNF
from microbox.chain.plan import Plan, PlannedNF
from microbox.chain.prepare import Describe
from microbox.channel.messages import Manifest


@dataclass(frozen=True, slots=True)
class Present:
    """What runs."""

    plan: Plan
    left: list[PlannedNF]  # NFs that have left, the last ones last
    said: Said  # by the file when it was read last
    own: Collection[str]  # NFs of the chain, which none brought from a terminal
    dead: Mapping[str, str]  # NFs whose processes are gone, and how they ended
    edited: Collection[str]  # NFs whose files are not those that their processes have loaded


@dataclass(frozen=True, slots=True)
class Revision:
    """What is to be done."""

    differences: list[Difference]
    said: Said  # when all of it is done that can be
    plan: Plan  # likewise, but for what is told to NFs that are read anew
    leaving: list[str]  # entries, with NFs that nobody needs any more
    changed: dict[str, ChainNF]  # by the names of processes: NFs that go on otherwise
    renewed: list[str]  # entries of those that need another process for it
    coming: list[str]  # names of those that come, in their order

    @property
    def refused(self) -> list[Difference]:
        """What cannot be done."""
        return [one for one in self.differences if one.action == "refused"]


def revise(present: Present, fresh: Plan, describe: Describe) -> Revision:
    """`fresh`: the plan of the file as it is now, were it started. Raises ChainErrors where an NF
    that a new one needs cannot be loaded."""
    return _Reviser(present, fresh, describe).revision()


def with_changed(plan: Plan, changed: Mapping[str, ChainNF]) -> Plan:
    """The plan when these are told what their entries say now."""
    chain = replace(plan.chain, nfs=tuple(changed.get(nf.name, nf) for nf in plan.chain.nfs))
    return replace(plan, chain=chain, nfs=[_told(nf, changed.get(nf.name)) for nf in plan.nfs])


def _told(nf: PlannedNF, said: ChainNF | None) -> PlannedNF:
    if said is None:
        return nf
    return replace(
        nf,
        source=str(said.source),
        written=said.written,
        parameters=said.parameters,
        on_error=said.on_error,
        supervision=said.supervision,
    )


class _Reviser:
    def __init__(self, present: Present, fresh: Plan, describe: Describe) -> None:
        self._present = present
        self._fresh = fresh
        self._describe = describe
        self._new = said_by(fresh.chain)
        runs = {nf.entry for nf in present.plan.nfs} & {*present.own}
        self._old = {
            name: _as_it_is(entry, present.plan)
            for name, entry in present.said.entries.items()
            if name in runs
        }
        self._common = [name for name in self._new.entries if name in self._old]

    def revision(self) -> Revision:
        """As `revise`."""
        differences = [*of_settings(self._present.said, self._new, self._fresh.chain)]
        changes = [one for name in self._common if (one := self._of_common(name)) is not None]
        leaving, departures = self._departures()
        plan, arrivals, coming = self._arrivals(_without(self._present.plan, leaving))
        differences += [*changes, *departures, *arrivals]
        refused = {one.subject for one in differences if one.action == "refused"}
        done = [one for one in changes if one.subject not in refused]
        entries = {one.subject for one in done}
        return Revision(
            differences=differences,
            said=self._said_then(refused, has_settings=self._keeps_settings(refused)),
            plan=plan,
            leaving=sorted({nf.entry for nf in self._present.plan.nfs if nf.index in leaving}),
            changed={nf.name: nf for nf in self._fresh.chain.nfs if nf.entry in entries},
            renewed=[one.subject for one in done if one.action == "reload"],
            coming=coming,
        )

    def _keeps_settings(self, refused: Collection[str]) -> bool:
        return any(".".join(map(str, key)) in refused for key in self._present.said.settings)

    def _said_then(self, refused: Collection[str], *, has_settings: bool) -> Said:
        """What was refused is still as it was."""
        kept = {name: one for name, one in self._old.items() if name in refused}
        entries = {name: one for name, one in self._new.entries.items() if name not in refused}
        old = self._present.said
        return Said(old.settings if has_settings else self._new.settings, {**entries, **kept})

    # --- NFs that stay ---

    def _of_common(self, name: str) -> Difference | None:
        new = self._new.entries[name]
        edited = name in self._present.edited
        found = of_nf(self._old[name], new, file_changed=edited) or self._of_order(name, new)
        if found and found.action in ("reload", "set") and name in self._present.dead:
            return found.refused(f"it {self._present.dead[name]}")
        return found

    def _of_order(self, name: str, new: Entry) -> Difference | None:
        """Where an NF stands matters as far as it waits for others."""
        before = _waits_for(self._present.plan, name, self._common)
        now = _waits_for(self._fresh, name, self._common)
        if before == now:
            return None
        words = f"waits for {_listed(now)} instead of {_listed(before)}"
        return Difference("refused", name, words, new.nf.position, "the order needs a restart")

    # --- NFs that leave ---

    def _departures(self) -> tuple[set[int], list[Difference]]:
        """The indexes of those that can, and all that are to."""
        vanished = [name for name in self._old if name not in self._new.entries]
        leaving = {nf.index for nf in self._present.plan.nfs if nf.entry in vanished}
        readers = dict(self._held(leaving))
        while held := {nf.index for nf in self._present.plan.nfs if nf.entry in readers} & leaving:
            leaving -= held
            readers |= dict(self._held(leaving))
        differences = []
        for name in vanished:
            found = Difference("detach", name, "the file does not name it any more")
            by = readers.get(name)
            differences.append(found.refused(f"{by} reads what it publishes") if by else found)
        return self._with_unneeded(leaving), differences

    def _held(self, leaving: Collection[int]) -> Iterator[tuple[str, str]]:
        """Those that cannot leave, and who reads them."""
        gone = self._with_unneeded(leaving)
        entries = {nf.index: nf.entry for nf in self._present.plan.nfs}
        for nf in self._present.plan.nfs:
            for index in nf.reads:
                if index in leaving and nf.index not in gone:
                    yield entries[index], nf.entry

    def _with_unneeded(self, leaving: Collection[int]) -> set[int]:
        """With those that the chain added for them alone: parsers that nobody else reads, a log of
        their alerts."""
        plan = self._present.plan
        added = [nf for nf in plan.nfs if nf.added_because and nf.entry in self._present.own]
        gone = {*leaving}
        while True:
            more = {nf.index for nf in added if _is_unneeded(plan, nf, gone)} - gone
            if not more:
                return gone
            gone |= more

    # --- NFs that come ---

    def _arrivals(self, plan: Plan) -> tuple[Plan, list[Difference], list[str]]:
        """The plan with those that can, all that are to, and names of the processes that come."""
        left = [*self._present.left, *(nf for nf in self._present.plan.nfs if nf not in plan.nfs)]
        there = {nf.name for nf in plan.nfs}
        differences = []
        for name, entry in self._new.entries.items():
            if name in self._old:
                continue
            found = Difference("attach", name, "it is new", entry.nf.position)
            try:
                plan = self._extended(plan, left, entry)
            except _CannotComeError as error:
                found = found.refused(str(error))
            except ChainErrors as errors:
                found = found.refused("; ".join(_in_words(errors)))
            differences.append(found)
        return plan, differences, [nf.name for nf in plan.nfs if nf.name not in there]

    def _extended(self, plan: Plan, left: Sequence[PlannedNF], entry: Entry) -> Plan:
        """Raises ChainErrors, _CannotComeError."""
        nf = entry.nf
        if nf.spread is not None:
            raise _CannotComeError("several instances cannot come to a chain that runs")
        self._check_nobody_waits(nf.name)
        own = {one.entry for one in plan.nfs if one.entry in self._new.entries}
        manifest = next(one.manifest for one in self._fresh.nfs if one.name == nf.name)
        alone = replace(nf, after=None, group=None)
        extended = self._planned(plan, left, alone, manifest)
        wanted = _waits_for(self._fresh, nf.name, own)
        if _waits_for(extended, nf.name, own) == wanted:
            return extended
        if manifest.is_inline:
            raise _CannotComeError(
                "it may drop packets and would have to judge before others that run; expected "
                "it at the end of the chain, or a restart"
            )
        after = tuple(one.entry for one in plan.nfs if one.entry in wanted and one.is_first)
        return self._planned(plan, left, replace(alone, after=after), manifest)

    def _check_nobody_waits(self, name: str) -> None:
        """Raises _CannotComeError."""
        waiting = [one for one in self._common if _waits_for(self._fresh, one, [name])]
        if waiting:
            raise _CannotComeError(
                f"{_listed(waiting)}, which runs, would have to wait for it; expected it at the "
                "end of the chain, or a restart"
            )

    def _planned(
        self, plan: Plan, left: Sequence[PlannedNF], nf: ChainNF, manifest: Manifest
    ) -> Plan:
        extension = Extension(plan, left, nf)
        party = [manifest]
        while addition := extension.next_addition(party):
            (answer,) = self._describe([addition.nf])
            if isinstance(answer, NotDescribed):
                raise _CannotComeError(f"{addition.nf.name} cannot be loaded: {answer.error}")
            party.insert(extension.insert(addition), answer)
        return extension.plan(party)


class _CannotComeError(Exception):
    """Says why in a sentence."""


def _as_it_is(entry: Entry, plan: Plan) -> Entry:
    """It may have been promoted since."""
    planned = next(nf for nf in plan.nfs if nf.entry == entry.nf.entry)
    if not entry.settings["shadow"] or planned.is_shadow:
        return entry
    return replace(entry, settings={**entry.settings, "shadow": False})


def _waits_for(plan: Plan, entry: str, among: Collection[str]) -> list[str]:
    entries = {nf.index: nf.entry for nf in plan.nfs}
    own = [nf for nf in plan.nfs if nf.entry == entry]
    found = {entries[index] for nf in own for index in (*nf.barrier, *nf.reads) if index in entries}
    return sorted(found & {*among} - {entry})


def _is_unneeded(plan: Plan, nf: PlannedNF, gone: Collection[int]) -> bool:
    readers = [one.index for one in plan.nfs if nf.index in one.reads]
    there = {one.index for one in plan.nfs}
    others = {*(readers or nf.reads)} & there
    return bool(others) and others <= {*gone}


def _without(plan: Plan, indexes: Collection[int]) -> Plan:
    return replace(plan, nfs=[nf for nf in plan.nfs if nf.index not in indexes])


def _in_words(errors: ChainErrors) -> Iterator[str]:
    for error in errors.errors:
        yield error.message + (f"; {error.hint}" if error.hint else "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"
