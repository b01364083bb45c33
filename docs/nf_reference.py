"""Writes the page of the network functions that come with microbox, from what they say of
themselves: each is asked in a process of its own, as by `microbox nfs`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tables import table

from microbox.chain.describe import NotDescribed, describe_all
from microbox.chain.model import ChainNF
from microbox.chain.sources import (
    BUILT_IN_PACKAGE,
    PARSERS_PACKAGE,
    built_in_names,
    built_in_source,
)
from microbox.channel.messages import HandlerDeclaration, Manifest, ParameterDeclaration
from microbox.runtime.processes.validation import from_child


def nfs() -> Iterator[str]:
    """A section an NF; those that are added by themselves are last."""
    yield from ("# Network functions", "")
    yield "Those that come with microbox, by what `microbox nfs NAME` says of them;"
    yield from ("[the guide](../guide/nfs.md) says what they are for.", "")
    yield from sections(BUILT_IN_PACKAGE, "##")
    yield from ("## Parsers", "")
    yield "A chain adds a parser where somebody subscribes to what it publishes. Where it is to be"
    yield from ("several processes, or stand elsewhere, the chain names it.", "")
    yield from sections(PARSERS_PACKAGE, "###")


def sections(package: str, heading: str) -> Iterator[str]:
    """Those of a package, by name."""
    found = [(name, built_in_source(name, package)) for name in built_in_names(package)]
    wanted = [ChainNF(name, source) for name, source in found if source]
    for nf, answer in zip(wanted, describe_all(wanted, decode=from_child), strict=True):
        if isinstance(answer, NotDescribed):
            raise RuntimeError(f"{nf.name} cannot be described: {answer.error}")
        yield from (f"{heading} {nf.name}", "", answer.doc, "")
        yield from about(answer)


def about(manifest: Manifest) -> Iterator[str]:
    """What the chain may set, what wakes it, what it may do to others."""
    if manifest.parameters:
        head = ("parameter", "type", "default", "what it is")
        yield from table(head, [parameter(one) for one in manifest.parameters])
    for sentence in traits(manifest):
        yield f"* {sentence}"
    yield ""


def parameter(one: ParameterDeclaration) -> tuple[str, str, str, str]:
    """A row of the table."""
    default = "required" if one.required else f"`{json.dumps(one.default)}`"
    return (f"`{one.name}`", f"`{one.annotation}`", default, one.doc)


def reads(handlers: Sequence[HandlerDeclaration]) -> str:
    """A sentence about what wakes those that have a filter in common."""
    types = ", ".join(f"`{name}`" for one in handlers for name in one.types)
    where = f", where `{handlers[0].filter}`" if handlers[0].filter else ""
    return f"It reads {types}{where}{', in batches' if handlers[0].batch else ''}."


def traits(manifest: Manifest) -> Iterator[str]:
    """What a chain has to do with."""
    handlers = [one for one in manifest.handlers if one.handler.isidentifier()]
    for where in dict.fromkeys((one.filter, one.batch) for one in handlers):
        yield reads([one for one in handlers if (one.filter, one.batch) == where])
    if manifest.publishes:
        yield f"It publishes {', '.join(f'`{name}`' for name in manifest.publishes)}."
    if manifest.is_inline:
        yield "It is inline: packets wait until it has judged them."
    if manifest.edits:
        yield f"It edits packets: {manifest.edits}."
    if not manifest.per_flow:
        yield "It has to see all flows: neither `instances` nor several `workers`."
