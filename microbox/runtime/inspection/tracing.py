"""Packets of one flow on their way through a chain that runs. In the stack the worker measures
them; among the NFs they are watched from outside: the controller reads log and cursors in a thread
of its own, and holds up nobody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from microbox._core import ffi, lib
from microbox.chain.memory import log_size
from microbox.channel.geometry import geometry_of
from microbox.runtime.accounts.counters import AreaError, MappedArea
from microbox.runtime.control.control_socket import ControlError
from microbox.runtime.inspection.inquiry import Inquiry, module_names
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.running import Running

WATCH_NS = 500_000_000
"""How long packets are waited for, for one request. Then it rests for as long as it took: a thread
that looks all the time takes a processor, where no other wants it."""

MEASURED_NS = 5_000_000_000
"""How long the worker measures: longer, since the thread may have to wait for a processor before it
begins."""

PATIENCE_NS = 2_000_000_000
"""How long one packet is followed."""

GAP_NS = 100_000
"""Between two looks, where what the second one sees is exact. Who sleeps between them on purpose
wakes within that."""

LOWEST = 19
"""Priority of the thread: all others go before it where processors are short."""

PACKETS_MAX = 10
"""That are told of in one answer."""

Packet = dict[str, Any]


class Tracing:
    """Of one run."""

    def __init__(self, running: Running, inquiry: Inquiry) -> None:
        """Watches nothing yet."""
        self._running = running
        self._inquiry = inquiry
        self._turn = asyncio.Lock()
        self._rests_until = 0.0  # on the loop's clock

    async def trace(self, flow: str) -> dict[str, Any]:
        """Some packets of the flow, each with the time that the stack and every NF took. Raises
        ControlError."""
        clock = asyncio.get_running_loop().time
        async with self._turn:
            await asyncio.sleep(self._rests_until - clock())
            began = clock()
            lane, found = (await self._inquiry.find(flow))[0]
            plan = self._running.plan
            nfs = [nf for nf in lane.nfs if nf.child.is_alive]
            try:
                mapped, trace = _mapped(lane, nfs, plan.log_slots, found.number)
            except AreaError as error:
                raise ControlError(str(error)) from None
            names = [nf.planned.name for nf in nfs]
            await self._inquiry.trace(lane, found, MEASURED_NS)
            packets = await _in_a_thread(_watch, mapped, trace, names, module_names(plan))
            self._rests_until = 2 * clock() - began
        waits = {nf.planned.name: [plan.names[one] for one in nf.planned.barrier] for nf in nfs}
        return {
            "flow_id": found.number,
            "packets": [_with_times(packet, waits) for packet in packets],
        }


def _mapped(
    lane: Lane, nfs: Sequence[RunningNF], log_slots: int, flow: int
) -> tuple[ExitStack, Any]:
    """Mappings of the trace's own, since an NF may leave meanwhile. Raises AreaError."""
    with ExitStack() as stack:
        log = stack.enter_context(MappedArea(os.dup(lane.shared[0]), log_size(log_slots)))
        counters = stack.enter_context(
            MappedArea(os.dup(lane.counters), lib.mb_worker_counters_size())
        )
        trace = ffi.new("struct mb_trace *")
        trace.sojourns = ffi.cast("const struct mb_counter_page *", counters.base).sojourns
        trace.log = ffi.cast("const struct mb_log_page *", log.base)
        trace.slots, trace.flow, trace.nfs = log_slots, flow, len(nfs)
        trace.gap_max = GAP_NS
        for place, nf in zip(trace.nf, nfs, strict=False):
            size = lib.mb_nf_area_size(geometry_of(nf.planned.shape))
            area = stack.enter_context(MappedArea(os.dup(nf.area), size))
            place.page = ffi.cast("const struct mb_nf_page *", area.base)
            place.index = nf.planned.index
            for bit in nf.planned.bits:
                place.bits[bit.bit // 64] |= 1 << bit.bit % 64
        return stack.pop_all(), trace


# --- in a thread ---


async def _in_a_thread(watch: Callable[..., list[Packet]], *arguments: Any) -> list[Packet]:
    """One that nobody waits for at the end of the run, with a priority of its own."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[list[Packet]] = loop.create_future()

    def work() -> None:
        packets = watch(*arguments)
        with contextlib.suppress(RuntimeError):  # the run is over, and its loop closed
            loop.call_soon_threadsafe(_tell, result, packets)

    threading.Thread(target=work, name="trace", daemon=True).start()
    return await result


def _tell(result: asyncio.Future[list[Packet]], packets: list[Packet]) -> None:
    if not result.done():  # else nobody waits any more
        result.set_result(packets)


def _watch(mapped: ExitStack, trace: Any, names: list[str], modules: list[str]) -> list[Packet]:
    """However long the one who asked waits for it: the mappings end here."""
    with mapped:
        return list(_packets(trace, names, modules))


def _packets(trace: Any, names: list[str], modules: list[str]) -> Iterator[Packet]:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST)
    lib.mb_trace_begin(trace)
    traced = ffi.new("struct mb_traced *")
    until = lib.mb_trace_now() + WATCH_NS
    for _ in range(PACKETS_MAX):
        if not lib.mb_trace_next(trace, until, PATIENCE_NS, traced):
            return
        yield {
            "packet": traced.packet,
            "from": "responder" if traced.from_responder else "originator",
            "events": traced.entries,
            "stack": _in_the_stack(traced.sojourn, modules),
            "late": [name for place, name in enumerate(names) if traced.late >> place & 1],
            "passed": {
                name: (traced.passed[place] - traced.seen) / 1000 if traced.passed[place] else None
                for place, name in enumerate(names)
                if traced.named >> place & 1
            },
        }


def _in_the_stack(sojourn: Any, modules: Sequence[str]) -> dict[str, Any] | None:
    """In microseconds: how long the packet waited for others that were handled with it, how long
    it took by itself, and what parts of that were. None where it was not measured."""
    if not sojourn.packet:
        return None
    took = sojourn.decoding + sojourn.handling
    parts = [("decode", sojourn.decoding)] + [
        (name, sojourn.part[number])
        for number, name in enumerate(modules)
        if sojourn.parts >> number & 1
    ]
    return {
        "waited": (sojourn.whole - took) / 1000,
        "took": took / 1000,
        "parts": [{"part": name, "took": time / 1000} for name, time in parts],
    }


# --- in words ---


def _with_times(packet: Packet, waits: dict[str, list[str]]) -> Packet:
    """`passed` is in microseconds from when its events were there. An NF begins when those that it
    waits for have passed."""
    passed, late = packet.pop("passed"), packet.pop("late")
    packet["nfs"] = [
        {**_times(name, passed, waits[name]), "exact": not {name, *waits[name]} & {*late}}
        for name in passed
    ]
    return packet


def _times(
    name: str, passed: Mapping[str, float | None], waits_for: Sequence[str]
) -> dict[str, Any]:
    """`took` is None where it had not passed when the time was up."""
    waited = max((passed.get(one) or 0.0 for one in waits_for), default=0.0)
    at = passed[name]
    took = None if at is None else round(max(at - waited, 0.0), 1)
    return {"nf": name, "waited": round(waited, 1), "took": took}
