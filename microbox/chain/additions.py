"""NFs that a chain needs though its file does not name them: parsers and the alert log.

A parser is added when a handler would get nothing without it: a subscription to `tcp.data` is
content with bytes, one to `http` or `http.request` is not. It stands right in front of the first
NF that needs it. An NF of the chain that publishes such events itself takes the parser's place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from microbox.chain.model import Chain, ChainNF
from microbox.chain.sources import PARSERS_PACKAGE, built_in_source
from microbox.chain.subscriptions import ALERT, Reader
from microbox.chain.user_types import user_catalog
from microbox.channel.messages import Manifest
from microbox.events.catalog import Catalog

ALERT_LOG = "alert_log"


@dataclass(frozen=True, slots=True)
class Addition:
    """`nf` is to stand in front of the NF that is at `before` now."""

    before: int
    nf: ChainNF


def next_addition(chain: Chain, manifests: Sequence[Manifest], catalog: Catalog) -> Addition | None:
    """The next NF that the chain needs; None where it is complete.

    `manifests` belong to `chain.nfs`. Describe the NF, put it in, and ask again: a parser may
    need another one.
    """
    catalog, _, _ = user_catalog(chain, manifests, catalog)
    readers = [Reader(manifest, catalog) for manifest in manifests]
    return missing_parser(chain, readers, catalog) or missing_alert_log(chain, readers)


def missing_parser(chain: Chain, readers: Sequence[Reader], catalog: Catalog) -> Addition | None:
    """A parser without which a handler would get nothing."""
    published = {one for reader in readers for one in reader.publishes}
    sources = {nf.source for nf in chain.nfs}
    for index, reader in enumerate(readers):
        for wish in reader.wishes:
            below = catalog.delivered(wish.type)
            if any(one.is_by_stack or one in published for one in below):
                continue
            for parser in dict.fromkeys(one.parser for one in below):
                source = built_in_source(parser, PARSERS_PACKAGE) if parser else None
                if source is None or source in sources:
                    continue
                because = f"{chain.nfs[index].entry} subscribes to {wish.written}"
                name = _free_name(f"{parser}_parser", chain.nfs)
                return Addition(
                    _in_front_of(chain.nfs, index),
                    ChainNF(
                        name,
                        source,
                        written=parser,
                        position=chain.nfs[index].position,
                        added_because=because,
                    ),
                )
    return None


def _in_front_of(nfs: Sequence[ChainNF], index: int) -> int:
    """What an NF of a `parallel` needs stands in front of all of it."""
    group = nfs[index].group
    if group is None:
        return index
    return next(place for place, nf in enumerate(nfs) if nf.group == group)


def missing_alert_log(chain: Chain, readers: Sequence[Reader]) -> Addition | None:
    """Without an NF that takes alerts to people, they would be lost. One that may drop packets
    acts on alerts; it tells nobody."""
    alerting = [
        nf.entry
        for nf, reader in zip(chain.nfs, readers, strict=True)
        if nf.is_first
        and any(above.name == ALERT for one in reader.publishes for above in one.ancestors())
    ]
    taken = any(reader.reads_by_name(ALERT) and not reader.manifest.is_inline for reader in readers)
    source = built_in_source(ALERT_LOG)
    if not alerting or taken or source is None:
        return None
    verb = "publishes" if len(alerting) == 1 else "publish"
    return Addition(
        len(chain.nfs),
        ChainNF(
            _free_name(ALERT_LOG, chain.nfs),
            source,
            written=ALERT_LOG,
            position=chain.nfs[-1].position,
            added_because=f"{_listed(alerting)} {verb} alert",
        ),
    )


def _listed(names: Sequence[str], limit: int = 3) -> str:
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _free_name(name: str, nfs: Iterable[ChainNF]) -> str:
    taken = {name for nf in nfs for name in (nf.name, nf.entry)}
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
