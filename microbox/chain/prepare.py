"""From a chain file to its plan, with everything that is wrong reported together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from microbox.chain.additions import next_addition
from microbox.chain.describe import Answer, NotDescribed
from microbox.chain.errors import ChainError, ChainErrors, Position
from microbox.chain.filters import FilterJudge, judge_filter
from microbox.chain.load import read_chain
from microbox.chain.model import Chain, ChainNF, Overrides
from microbox.chain.modules import with_modules
from microbox.chain.plan import Plan
from microbox.chain.planner import make_plan, part_errors
from microbox.channel.messages import Manifest
from microbox.events.catalog import Catalog, built_in

Describe = Callable[[Sequence[ChainNF]], list[Answer]]


@dataclass
class _Described:
    """NFs that could be described, and what is wrong with the others."""

    nfs: list[ChainNF]
    manifests: list[Manifest]
    errors: list[ChainError]


def prepare(
    path: Path,
    describe: Describe,
    overrides: Overrides | None = None,
    judge: FilterJudge = judge_filter,
) -> Plan:
    """The plan of the chain file at `path`, NFs that it needs added.

    Raises ChainErrors. Where a part of the chain is broken, the rest is checked as far as it can
    be told apart from it.
    """
    reading = read_chain(path, overrides)
    if reading.chain is None:
        raise ChainErrors(reading.errors)
    catalog = built_in()
    described = _describe(reading.chain, reading.chain.nfs, describe)
    errors = [*reading.errors, *described.errors]
    chain, module_errors = _with_modules(replace(reading.chain, nfs=tuple(described.nfs)))
    errors += module_errors
    if errors:
        errors += part_errors(chain, described.manifests, catalog, judge)
        raise ChainErrors(errors)
    chain, manifests = _completed(chain, described.manifests, catalog, describe)
    return make_plan(chain, manifests, catalog, judge)


def _with_modules(chain: Chain) -> tuple[Chain, list[ChainError]]:
    """The chain with its modules described, or without them, and what is wrong with them."""
    try:
        return with_modules(chain), []
    except ChainErrors as errors:
        return replace(chain, modules=()), list(errors.errors)


def _describe(chain: Chain, nfs: Sequence[ChainNF], describe: Describe) -> _Described:
    """Of several instances of an NF the first one is asked."""
    result = _Described([], [], [])
    first = [nf for nf in nfs if nf.is_first]
    for nf, answer in zip(first, describe(first), strict=True):
        if isinstance(answer, NotDescribed):
            result.errors.append(_failure(chain, nf, answer))
            continue
        instances = [one for one in nfs if one is nf or one.is_sibling(nf)]
        result.nfs += instances
        result.manifests += [answer] * len(instances)
    return result


def _failure(chain: Chain, nf: ChainNF, failure: NotDescribed) -> ChainError:
    position = Position(failure.line, 1, str(nf.source)) if failure.line else nf.position
    message = f"'{nf.entry}' cannot be loaded: {failure.error}"
    return ChainError.at(chain.file, position, message, failure.hint, failure.traceback)


def _completed(
    chain: Chain, manifests: list[Manifest], catalog: Catalog, describe: Describe
) -> tuple[Chain, list[Manifest]]:
    """With all NFs that the chain needs beside those that it names."""
    while (addition := next_addition(chain, manifests, catalog)) is not None:
        described = _describe(chain, [addition.nf], describe)
        if described.errors:
            raise ChainErrors(described.errors)
        chain = chain.inserting(addition.before, addition.nf)
        manifests = [*manifests]
        manifests[addition.before : addition.before] = described.manifests
    return chain, manifests
