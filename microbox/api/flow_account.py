"""What a chain does for one flow of a capture: which handlers its events wake, by way of which
filter and which modules of the stack, and how many there are.

The capture is read within this process, by the stack itself; the chain's NFs do not run, so that no
user's code is loaded here and nothing is written. A reader with the same subscriptions takes their
place: counted is what the stack and the parsers of microbox publish for each, as if no NF dropped
anything or unsubscribed. What users' NFs publish is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from microbox.api.in_process import InProcess, Options, Unit
from microbox.chain.model import ChainNF
from microbox.chain.plan import Plan, PlannedNF
from microbox.channel.messages import HandlerDeclaration, HostNetwork
from microbox.events.catalog import EventType
from microbox.nf.batch import Batch
from microbox.nf.decorators import on, on_batch
from microbox.nf.event import Event
from microbox.nf.function import NetworkFunction
from microbox.runtime.inspection.flow_name import FlowName

ENDS = ("flow.end", "flow.tcp.end", "flow.udp.end", "flow.icmp.end")
NANOSECONDS = 1_000_000_000
LOOKS_ONLY = {"inline": False, "commands": False, "edits": ""}

Handler = Callable[[Any, Any], None]


@dataclass(frozen=True, slots=True)
class FlowFound:
    """A flow of the capture. Pairs are from the originator, from the responder."""

    number: int
    words: str
    transport: str  # "tcp", "udp", "icmp", "other"
    packets: tuple[int, int]
    bytes: tuple[int, int]
    seconds: float
    reason: str  # of its end


@dataclass(slots=True)
class Subscription:
    """One handler, and what it gets of the flow."""

    nf: PlannedNF
    handler: HandlerDeclaration
    types: list[str]  # of its types those that are counted, in full
    modules: list[str]  # that a flow of this transport runs for it, where its filter fits
    matched: list[int] = field(default_factory=lambda: [0, 0])  # packets, each way
    events: Counter[str] = field(default_factory=Counter)  # by type
    of_all: int = 0  # events of all flows

    @property
    def is_counted(self) -> bool:
        """False where only users' NFs, or conditions of theirs, make its events."""
        return bool(self.types)

    @property
    def fits(self) -> bool:
        """Whether its filter takes packets of the flow."""
        return not self.handler.filter or any(self.matched)

    @property
    def wakes(self) -> list[str]:
        """The modules that run for the flow because of it. One that is off at first wakes none,
        before its NF subscribes."""
        return self.modules if self.fits and self.handler.initially else []


@dataclass(slots=True)
class FlowAccount:
    """Of one flow."""

    flow: FlowFound
    subscriptions: list[Subscription]
    entries: int = 0  # of the stack's log, however many read each
    others: list[int] = field(default_factory=list)  # flows that are meant as well

    @property
    def nfs(self) -> list[PlannedNF]:
        """Each once."""
        return list({one.nf.index: one.nf for one in self.subscriptions}.values())

    @property
    def deliveries(self) -> int:
        """Events handed to handlers."""
        return sum(one.events.total() for one in self.subscriptions)

    @property
    def modules(self) -> dict[str, list[Subscription]]:
        """That run for it, and because of whom."""
        found: dict[str, list[Subscription]] = {}
        for one in self.subscriptions:
            for module in one.wakes:
                found.setdefault(module, []).append(one)
        return found


def find_flows(plan: Plan, capture: int, name: FlowName) -> list[FlowFound]:
    """The flows that are meant. `capture` is a descriptor of the chain's input, the caller's.
    Raises RunError."""
    found: list[FlowFound] = []

    def look(_nf: Any, event: Event) -> None:
        flow = event.flow
        raw = flow.raw_tuple
        ends = (
            (raw[:16], int(event.source_port)),
            (raw[16:32], int(event.destination_port)),
        )
        if name.means(flow.id, flow.protocol_number, ends):
            found.append(_found(event))

    _read(plan, capture, {"look": on(*ENDS)(look)})
    return sorted(found, key=lambda one: one.number)


def _found(event: Event) -> FlowFound:
    originator, responder = event.snapshot.side
    kind = event.type.name.split(".")[1]
    return FlowFound(
        number=event.flow.id,
        words=str(event.flow),
        transport=kind if kind != "end" else "other",
        packets=(originator.packets, responder.packets),
        bytes=(originator.bytes, responder.bytes),
        seconds=(event.time - event.started) / NANOSECONDS,
        reason=event.reason.name,
    )


def account_of(plan: Plan, capture: int, flow: FlowFound) -> FlowAccount:
    """Of a flow that `find_flows` has found in the same capture. Raises RunError."""
    account = FlowAccount(flow, list(_subscriptions(plan, flow)))
    entries: set[int] = set()
    handlers: dict[str, Handler] = {"end": on_batch(*ENDS)(_ignore)}  # flows are as in find_flows
    for index, one in enumerate(account.subscriptions):
        written = one.handler.filter
        if one.is_counted:
            counted = _counting(one, entries, plan, flow.number)
            handlers[f"count_{index}"] = on_batch(*one.types, filter=written)(counted)
        if written:
            matching = _matching(one, flow.number)
            handlers[f"match_{index}"] = on_batch("packet", filter=written)(matching)
    _read(plan, capture, handlers)
    account.entries = len(entries)
    return account


def _subscriptions(plan: Plan, flow: FlowFound) -> Iterator[Subscription]:
    for nf in plan.nfs:
        if not nf.is_first:
            continue
        for handler in nf.manifest.handlers:
            named = map(plan.catalog.resolve, handler.types)
            types = [one.name for one in named if _is_counted(one)]
            modules = plan.modules_of(handler).get(flow.transport, [])
            yield Subscription(nf, handler, types, modules)


def _is_counted(one: EventType) -> bool:
    return one.is_built_in and (one.is_by_stack or one.is_abstract or bool(one.parser))


# --- reading ---


def _counting(one: Subscription, entries: set[int], plan: Plan, flow: int) -> Handler:
    names = [each.name for each in plan.catalog.types]
    by_stack = np.array([each.is_by_stack for each in plan.catalog.types])

    def count(_nf: Any, batch: Batch) -> None:
        one.of_all += len(batch)
        is_own = np.array(batch.flow) == flow
        types = batch._column("type")[is_own]
        entries.update(batch.sequence[is_own][by_stack[types]].tolist())
        one.events.update(names[number] for number in types.tolist())

    return count


def _matching(one: Subscription, flow: int) -> Handler:
    def match(_nf: Any, batch: Batch) -> None:
        directions = np.array(batch.direction)[np.array(batch.flow) == flow]
        from_responder = int(directions.sum())
        one.matched[0] += len(directions) - from_responder
        one.matched[1] += from_responder

    return match


def _ignore(_nf: Any, _batch: Batch) -> None:
    pass


@dataclass(frozen=True, slots=True)
class _StackOf:
    """The settings of a chain's stack."""

    plan: Plan

    def as_settings(self) -> dict[str, int]:
        """Fields of struct mb_stack_config."""
        return self.plan.settings

    def host_networks(self) -> Sequence[HostNetwork]:
        """As the worker is told."""
        return self.plan.hosts


def _read(plan: Plan, capture: int, handlers: Mapping[str, Handler]) -> None:
    """All of it, by one reader."""
    owner = type("Reader", (NetworkFunction,), {**LOOKS_ONLY, **handlers})
    led = Unit(ChainNF("(reader)", Path(__file__)), owner)
    options = Options(settings=_StackOf(plan))
    with InProcess([led], led, capture, str(plan.chain.input), options) as run:
        while run.step():
            pass
        run.finish()
