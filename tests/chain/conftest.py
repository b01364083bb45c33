"""Chains and manifests made by hand, so that the planner is tested without processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from microbox.chain.errors import Position
from microbox.chain.filters import FilterFacts
from microbox.chain.model import Chain, ChainNF, Input
from microbox.chain.plan import Plan
from microbox.chain.planner import make_plan
from microbox.channel.messages import (
    HandlerDeclaration,
    Manifest,
    ParameterDeclaration,
    TimerDeclaration,
    TypeDeclaration,
)
from microbox.events.catalog import built_in


@dataclass
class HandMade:
    """An NF as a test writes it. `on`: type names, or (type name, filter)."""

    name: str
    on: Sequence[str | tuple[str, str]] = ()
    batch: Sequence[str] = ()
    every: Sequence[int] = ()
    publishes: Sequence[str] = ()
    declares: dict[str, dict[str, str]] = field(default_factory=dict)
    inline: bool = False
    commands: bool = False
    edits: str = ""
    edits_packets: bool = False
    switch: dict[str, bool] = field(default_factory=dict)  # type name → whether it is on at first
    parameters: Sequence[ParameterDeclaration] = ()
    given: dict[str, Any] = field(default_factory=dict)
    on_failure: str | None = None
    skips: bool = False
    shadow: bool = False
    after: tuple[str, ...] | None = None
    group: int | None = None  # the `parallel` that it stands in
    instances: int = 1
    spread_by: str = "flow"
    per_flow: bool = True
    lines: Sequence[int] = ()  # of the handlers; 0 where it does not matter

    def manifest(self) -> Manifest:
        pairs = [(one, "") if isinstance(one, str) else one for one in self.on]
        lines = [*self.lines, *[0] * len(pairs)]
        handlers = [
            HandlerDeclaration(f"on_{number}", [name], expression, line=lines[number])
            for number, (name, expression) in enumerate(pairs)
        ]
        handlers += [HandlerDeclaration("batch", [one], "", batch=True) for one in self.batch]
        handlers += [
            HandlerDeclaration("switched", [one], switch=True, initially=initially)
            for one, initially in self.switch.items()
        ]
        return Manifest(
            class_name=self.name.title(),
            file=f"{self.name}.py",
            doc="",
            parameters=list(self.parameters),
            handlers=handlers,
            timers=[TimerDeclaration("tick", period) for period in self.every],
            publishes=list(self.publishes),
            declares=[TypeDeclaration(name, fields) for name, fields in self.declares.items()],
            is_inline=self.inline or bool(self.edits),
            edits=self.edits,
            edits_packets=self.edits_packets,
            commands=self.commands or bool(self.switch),
            per_flow=self.per_flow,
        )


def any_filter(expression: str) -> FilterFacts:
    """A judge without libpcap: filters that say `wrong` are."""
    if "wrong" in expression:
        return FilterFacts(error="syntax error")
    return FilterFacts(is_per_flow="[" not in expression)


CAPTURE = Input((Path("capture.pcap"),))


def chain_of(nfs: Sequence[HandMade], chain_input: Input = CAPTURE, **settings: Any) -> Chain:
    """A chain whose n-th NF stands in line n + 2 of `chain.yaml`."""
    return Chain(
        file="chain.yaml",
        input=chain_input,
        output=None,
        nfs=tuple(
            instance
            for line, nf in enumerate(nfs, start=3)
            for instance in ChainNF(
                name=nf.name,
                source=Path(f"{nf.name}.py"),
                parameters=nf.given,
                on_failure=nf.on_failure,
                skips=nf.skips,
                is_shadow=nf.shadow,
                after=nf.after,
                group=nf.group,
                written=nf.name,
                position=Position(line, 5),
            ).instances(nf.instances, nf.spread_by)
        ),
        **settings,
    )


@pytest.fixture
def nf() -> type[HandMade]:
    return HandMade


@pytest.fixture
def chain() -> Callable[..., Chain]:
    return lambda *nfs, **settings: chain_of(nfs, **settings)


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """Plans a chain of hand-made NFs."""

    def planned(*nfs: HandMade, **settings: Any) -> Plan:
        manifests = [manifest for one in nfs for manifest in [one.manifest()] * one.instances]
        return make_plan(chain_of(nfs, **settings), manifests, built_in(), any_filter)

    return planned
