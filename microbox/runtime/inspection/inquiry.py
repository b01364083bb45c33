"""Why a flow of a chain that runs costs what it costs: the workers say what their stacks do for it,
the plan says because of whom."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

from microbox.chain.module_needs import MODULES
from microbox.chain.plan import Plan, PlannedNF
from microbox.chain.subscriptions import normal_filter
from microbox.channel.messages import (
    Bit,
    FindFlows,
    FlowState,
    FlowTraced,
    FoundFlows,
    HandlerDeclaration,
    TraceFlow,
)
from microbox.nf.notation import PROTOCOLS, address_text, endpoint_text
from microbox.nf.snapshot import tcp_state
from microbox.runtime.control.control_socket import ControlError
from microbox.runtime.inspection.flow_name import FlowName, parse_flow
from microbox.runtime.lane import Lane
from microbox.runtime.membership.changes import Changes
from microbox.runtime.processes.supervisor import ChildError
from microbox.runtime.running import Running

FIVE_TUPLE = struct.Struct("=16s16sHHBBH")  # mb_five_tuple
SHARE = 0.05
"""Of a worker's time at most, for all inquiries: it looks through its whole flow table for each."""

PATIENCE = 10.0  # seconds for a worker to look through its flow table
TRANSPORTS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}


class Inquiry:
    """Of one run."""

    def __init__(self, running: Running, changes: Changes) -> None:
        """Asks nothing yet."""
        self._running = running
        self._changes = changes
        self._turn = asyncio.Lock()
        self._rests_until = 0.0  # on the loop's clock

    async def why(self, flow: str) -> dict[str, Any]:
        """What is done for each flow that is meant. Raises ControlError."""
        found = await self.find(flow)
        plan = self._running.plan
        return {"flows": [_account(plan, one) for _, one in found]}

    async def find(self, flow: str) -> list[tuple[Lane, FlowState]]:
        """Each flow that is meant, and whose it is: one at least, the first to begin first. Raises
        ControlError."""
        try:
            question = _question(parse_flow(flow))
        except ValueError as error:
            raise ControlError(str(error)) from None
        try:
            found = await self._ask_workers(question)
        except ChildError as error:
            raise ControlError(f"the {error}") from None
        if not found:
            raise ControlError(f"there is no flow '{flow}' at this moment")
        return sorted(found, key=lambda one: one[1].number)

    async def trace(self, lane: Lane, flow: FlowState, duration: int) -> None:
        """The lane's worker measures what packets of the flow take in its stack, for so many
        nanoseconds from now on. Raises ControlError."""
        try:
            async with self._changes.none_under_way():
                await lane.worker.send(TraceFlow(flow.number, flow.slot, duration))
                await lane.answers.expect(FlowTraced, PATIENCE, "beginning to trace a flow")
        except ChildError as error:
            raise ControlError(f"the {error}") from None

    async def _ask_workers(self, question: FindFlows) -> list[tuple[Lane, FlowState]]:
        """One question at a time, and workers rest between two."""
        clock = asyncio.get_running_loop().time
        found: list[tuple[Lane, FlowState]] = []
        async with self._turn:
            await asyncio.sleep(self._rests_until - clock())
            async with self._changes.none_under_way():
                began = clock()
                for lane in self._running.lanes:
                    found += [(lane, one) for one in await _asked(lane, question)]
            self._rests_until = clock() + (clock() - began) / SHARE
        return found


async def _asked(lane: Lane, question: FindFlows) -> list[FlowState]:
    await lane.worker.send(question)
    answer = await lane.answers.expect(FoundFlows, PATIENCE, "looking for a flow")
    return answer.flows


def _question(name: FlowName) -> FindFlows:
    (source, source_port), (destination, destination_port) = name.ends or ((b"", 0), (b"", 0))
    packed = FIVE_TUPLE.pack(
        source, destination, source_port, destination_port, name.protocol, 0, 0
    )
    return FindFlows(name.number, packed)


# --- in words ---


def _account(plan: Plan, flow: FlowState) -> dict[str, Any]:
    """Stable keys (docs/guide/cli.md)."""
    source, destination, source_port, destination_port, protocol, _, _ = FIVE_TUPLE.unpack(
        flow.five_tuple
    )
    first = endpoint_text(address_text(source), source_port)
    second = endpoint_text(address_text(destination), destination_port)
    transport = TRANSPORTS.get(protocol, "other")
    subscriptions = list(_subscriptions(plan, flow, transport))
    states = [tcp_state(number).name.lower() for number in flow.states]
    return {
        "flow_id": flow.number,
        "name": f"{first} → {second} {PROTOCOLS.get(protocol) or protocol}",
        "pkts_toserver": flow.packets[0],
        "pkts_toclient": flow.packets[1],
        "bytes_toserver": flow.payload[0],
        "bytes_toclient": flow.payload[1],
        "states": states if any(flow.states) else None,
        "modules": [
            {"name": module, "because": [one for one in subscriptions if module in one["modules"]]}
            for module in _running_modules(plan, flow)
        ],
        "streams": flow.streams,
        "subscriptions": subscriptions,
    }


def module_names(plan: Plan) -> list[str]:
    """As users write them, by number of their bit."""
    return [written for written, _ in MODULES.values()] + [one.name for one in plan.chain.modules]


def _running_modules(plan: Plan, flow: FlowState) -> list[str]:
    return [name for bit, name in enumerate(module_names(plan)) if flow.modules >> bit & 1]


def _subscriptions(plan: Plan, flow: FlowState, transport: str) -> Iterator[dict[str, Any]]:
    for nf in plan.nfs:
        for handler in nf.manifest.handlers:
            bits = {bit.bit for bit in _bits_of(plan, nf, handler)}
            gets = [bool(bits & {*flow.gets[direction]}) for direction in (0, 1)]
            is_decided = not handler.filter or nf.filters[normal_filter(handler.filter)].is_per_flow
            yield {
                "nf": nf.name,
                "handler": handler.handler,
                "types": handler.types,
                "filter": handler.filter,
                "gets": gets if is_decided else None,
                "off": [bool(bits & {*flow.off[direction]}) for direction in (0, 1)],
                "modules": _woken(plan, handler, transport) if any(gets) or not is_decided else [],
            }


def _bits_of(plan: Plan, nf: PlannedNF, handler: HandlerDeclaration) -> list[Bit]:
    """On which its events come."""
    written = normal_filter(handler.filter)
    switches = (
        {plan.catalog.resolve(name).name for name in handler.types} if handler.switch else {""}
    )
    return [
        bit
        for bit in nf.bits
        if bit.follows is None
        and bit.filter == written
        and bit.switch in switches
        and bit.initially == handler.initially
    ]


def _woken(plan: Plan, handler: HandlerDeclaration, transport: str) -> list[str]:
    return plan.modules_of(handler).get(transport, [])
