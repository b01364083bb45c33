"""What can be wrong with a chain once it is known what its NFs are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from microbox.chain.errors import ChainError, did_you_mean
from microbox.chain.filters import FilterFacts
from microbox.chain.model import ENTRY_KEYS, Chain, ChainNF
from microbox.chain.sources import string_position
from microbox.chain.subscriptions import (
    TIMER,
    Reader,
    Wish,
    publishers_in_front,
)
from microbox.channel.messages import HandlerDeclaration
from microbox.nf import parameters

BITS_MAX = 128  # MB_SUBSCRIPTIONS_MAX
BITS_PER_NF_MAX = 32  # struct mb_reader_config
NFS_MAX = 64  # MB_NFS_MAX
FILTER_SHOWN = 100  # characters


def check_plan_inputs(
    chain: Chain,
    readers: Sequence[Reader],
    facts: Mapping[str, FilterFacts],
    *,
    is_whole: bool = True,
) -> list[ChainError]:
    """All errors that do not need the plan itself. Where NFs are left out (not `is_whole`), who
    publishes what cannot be judged."""
    errors: list[ChainError] = []
    for index, nf in enumerate(chain.nfs):
        if not nf.is_first:
            continue
        check = _Check(chain, readers, index, replace(nf, name=nf.entry))
        errors += check.parameters()
        errors += check.settings()
        errors += check.instances()
        errors += check.workers()
        errors += check.names()
        errors += check.publications()
        errors += check.filters(facts)
        if is_whole:
            errors += check.subscriptions()
    return errors


def limit_errors(chain: Chain, bits: Sequence[int]) -> list[ChainError]:
    """Limits of the mask, given how many bits each NF takes."""
    errors = []
    total = 0
    for nf, count in zip(chain.nfs, bits, strict=True):
        if count > BITS_PER_NF_MAX:
            errors.append(_limit(chain, nf, count, f"at most {BITS_PER_NF_MAX} for one NF"))
        if total <= BITS_MAX < total + count:
            errors.append(_limit(chain, nf, total + count, f"at most {BITS_MAX} for a chain"))
        total += count
    if len(chain.nfs) > NFS_MAX:
        nf = chain.nfs[NFS_MAX]
        message = f"the chain has {len(chain.nfs)} NFs; expected at most {NFS_MAX}"
        errors.append(ChainError.at(chain.file, nf.position, message))
    return errors


def _limit(chain: Chain, nf: ChainNF, count: int, limit: str) -> ChainError:
    return ChainError.at(
        chain.file,
        nf.position,
        f"with '{nf.name}' that makes {count} pairs of NF and filter; expected {limit}",
        "handlers that share a filter share a place; so do NFs that read what it publishes",
    )


class _Check:
    def __init__(self, chain: Chain, readers: Sequence[Reader], index: int, nf: ChainNF) -> None:
        self._chain = chain
        self._readers = readers
        self._index = index
        self._reader = readers[index]
        self._nf = nf

    def _here(self, message: str, hint: str = "") -> ChainError:
        return ChainError.at(self._chain.file, self._nf.position, message, hint)

    def _at_handler(
        self, handler: HandlerDeclaration, text: str, message: str, hint: str = ""
    ) -> ChainError:
        """Points into the NF's own file, where the handler is declared."""
        place = string_position(self._nf.source, handler.handler, text, handler.line)
        if place[0] == 0:
            return self._here(message, hint)
        return ChainError(str(self._nf.source), *place, message, hint)

    def parameters(self) -> Iterator[ChainError]:
        """Unknown ones, wrong types, missing ones."""
        declared = self._reader.manifest.parameters
        for wrong in parameters.check(declared, self._nf.parameters):
            positions = self._nf.value_positions
            hint = wrong.hint
            if wrong.name not in {one.name for one in declared}:
                positions = self._nf.key_positions
                known = [one.name for one in declared]
                hint = did_you_mean(wrong.name, [*known, *ENTRY_KEYS]) or hint
            position = positions.get(wrong.name, self._nf.position)
            message = f"{self._nf.name}: {wrong.message}"
            yield ChainError.at(self._chain.file, position, message, hint)

    def settings(self) -> Iterator[ChainError]:
        """What the chain says about an NF, and the NF cannot keep."""
        yield from self._on_failure()
        yield from self._shadow()
        if self._nf.skips:
            yield from self._on_lag()

    def _on_lag(self) -> Iterator[ChainError]:
        """Who skips may lose anything at any time; so nobody may need what it says, and it reads
        what the stack publishes, of which the worker knows how much was lost."""
        manifest = self._reader.manifest
        if manifest.is_inline:
            yield self._cannot_skip("may drop packets, which wait for its verdicts")
        if manifest.commands:
            yield self._cannot_skip(
                "unsubscribes from flows, and the worker waits for what it says of them"
            )
        for nf, reader in zip(self._chain.nfs, self._readers, strict=True):
            if any(reader.from_nfs(wish, self._reader.publishes) for wish in reader.wishes):
                yield self._cannot_skip(f"publishes what '{nf.name}' reads, which waits for it")
            elif self._nf.name in (nf.after or ()):
                yield self._cannot_skip(f"is to come before '{nf.name}', which waits for it")
            if any(self._reader.from_nfs(wish, reader.publishes) for wish in self._reader.wishes):
                yield self._cannot_skip(
                    f"reads what '{nf.name}' publishes, which is kept until it is read",
                    "only what the stack itself publishes can be skipped",
                )

    def _cannot_skip(self, because: str, hint: str = "") -> ChainError:
        position = self._nf.value_positions.get("on_lag", self._nf.position)
        return ChainError.at(
            self._chain.file,
            position,
            f"'{self._nf.name}' {because}; expected `on_lag: block` (the default)",
            hint,
        )

    def _on_failure(self) -> Iterator[ChainError]:
        """`on_failure: closed` promises what only an NF that judges packets can keep."""
        if self._nf.on_failure != "closed" or self._reader.manifest.is_inline:
            return
        position = self._nf.key_positions.get("on_failure", self._nf.position)
        yield ChainError.at(
            self._chain.file,
            position,
            f"'{self._nf.name}' never drops a packet, so it cannot fail closed; expected an NF "
            "that returns DROP, or has `inline = True`",
        )

    def _shadow(self) -> Iterator[ChainError]:
        """Who says nothing of packets casts no shadow."""
        if not self._nf.is_shadow or self._reader.manifest.is_inline:
            return
        position = self._nf.key_positions.get("shadow", self._nf.position)
        yield ChainError.at(
            self._chain.file,
            position,
            f"'{self._nf.name}' never drops a packet, so there is nothing to count in shadow; "
            "expected an NF that returns DROP, or has `inline = True`",
        )

    def instances(self) -> Iterator[ChainError]:
        """What an NF knows of all flows is not known where each instance has some of them."""
        if self._nf.spread is None or self._reader.manifest.per_flow:
            return
        position = self._nf.key_positions.get("instances", self._nf.position)
        yield ChainError.at(
            self._chain.file,
            position,
            f"'{self._nf.name}' keeps what it knows of all flows together (`per_flow = False` in "
            "its class), so they cannot be shared out; expected no `instances`",
        )

    def workers(self) -> Iterator[ChainError]:
        """Likewise where each worker has some of them."""
        if self._chain.workers == 1 or self._reader.manifest.per_flow:
            return
        yield ChainError.at(
            self._chain.file,
            self._chain.workers_position,
            f"'{self._nf.name}' keeps what it knows of all flows together (`per_flow = False` in "
            f"its class), so {self._chain.workers} workers cannot share them out; expected 1",
            "`instances` of other NFs spread the work as well",
        )

    def names(self) -> Iterator[ChainError]:
        """Event types that do not exist."""
        for handler, error, name in self._reader.unknown:
            message = f"unknown event type '{name}'; expected one that `microbox events` lists"
            hint = f"did you mean '{error.nearest[0]}'?" if error.nearest else ""
            if handler is None:
                yield self._here(f"{self._nf.name} publishes an {message}", hint)
            else:
                yield self._at_handler(handler, name, message, hint)

    def publications(self) -> Iterator[ChainError]:
        """Types that only the stack publishes, or nobody."""
        for one in sorted(self._reader.publishes, key=lambda each: each.number):
            if one.is_by_stack or one.is_abstract:
                who = "nobody publishes" if one.is_abstract else "only the stack publishes"
                yield self._here(
                    f"'{self._nf.name}' publishes '{one.name}', which {who}; expected a type "
                    "of its own below it, in `declares`"
                )

    def filters(self, facts: Mapping[str, FilterFacts]) -> Iterator[ChainError]:
        """Filters that libpcap does not take, in its own words."""
        for handler in self._reader.manifest.handlers:
            error = facts[handler.filter].error if handler.filter else ""
            if error:
                yield self._at_handler(
                    handler,
                    handler.filter,
                    f"filter '{handler.filter:.{FILTER_SHOWN}}': {error}; expected libpcap's "
                    "syntax, such as 'tcp dst port 80'",
                )

    def subscriptions(self) -> Iterator[ChainError]:
        """Handlers that would never be called."""
        published = publishers_in_front(self._readers, self._index)
        for wish in self._reader.wishes:
            if self._reader.available(wish, published):
                continue
            yield self._never_called(wish)

    def _never_called(self, wish: Wish) -> ChainError:
        handler = wish.handler
        if wish.type.name == TIMER:
            return self._at_handler(
                handler,
                wish.written,
                "nobody asked for a timer; expected @every(SECONDS) above the handler",
            )
        if handler.filter and not wish.type.has_packet:
            return self._at_handler(
                handler,
                handler.filter,
                f"a filter cannot match '{wish.type.name}', which has no packet; "
                "expected no filter here",
            )
        unheard = self._publisher_in_shadow(wish)
        if unheard is not None:
            return self._here(
                f"'{self._nf.name}' subscribes to '{wish.written}', which '{unheard.entry}' ("
                f"{unheard.position.spelled}) publishes in shadow: only NFs that neither drop nor "
                f"publish hear of it; expected `shadow: true` for '{self._nf.name}' too, or for "
                "neither"
            )
        later = self._later_publisher(wish)
        if later is not None:
            return self._here(
                f"'{self._nf.name}' subscribes to '{wish.written}', which '{later.name}' "
                f"({later.position.spelled}) publishes behind it; expected '{later.name}' "
                f"in front of '{self._nf.name}'"
            )
        return self._at_handler(handler, wish.written, *self._unpublished(wish))

    def _publisher_in_shadow(self, wish: Wish) -> ChainNF | None:
        """One in front that this NF does not hear."""
        front = zip(self._chain.nfs[: self._index], self._readers[: self._index], strict=True)
        for nf, reader in front:
            published = self._reader.from_nfs(wish, reader.publishes)
            if published and not self._reader.hears(reader):
                return nf
        return None

    def _later_publisher(self, wish: Wish) -> ChainNF | None:
        for nf, reader in zip(self._chain.nfs, self._readers, strict=True):
            if nf.entry != self._nf.name and self._reader.from_nfs(wish, reader.publishes):
                return nf
        return None

    def _unpublished(self, wish: Wish) -> tuple[str, str]:
        """Message and hint."""
        parser = wish.type.parser
        if parser:
            return f"the parser '{parser}' that publishes '{wish.type.name}' is not installed", ""
        published = {one.name for reader in self._readers for one in reader.publishes}
        return (
            f"nobody publishes '{wish.written}' in this chain, so {wish.handler.handler}() would "
            "never be called; expected an NF in front that publishes it",
            did_you_mean(wish.type.name, published - {wish.type.name}),
        )
