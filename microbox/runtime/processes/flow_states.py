"""What a worker's stack does for a flow, as messages say it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from microbox._core import ffi, lib
from microbox.channel.messages import FindFlows, FlowState, FoundFlows

FLOWS_MAX = 8
"""Of the same ends, in different VLANs and tunnels, that are told of."""

DIRECTIONS = (0, 1)


def found_flows(worker: Any, wanted: FindFlows) -> FoundFlows:
    """The answer. Looks through the whole flow table, between two slices of work."""
    question = ffi.new("struct mb_flow_question *", {"number": wanted.number})
    ffi.memmove(ffi.addressof(question, "tuple"), wanted.five_tuple, ffi.sizeof(question.tuple))
    answers = ffi.new("struct mb_flow_answer[]", FLOWS_MAX)
    count = lib.mb_worker_ask(worker, question, answers, FLOWS_MAX)
    return FoundFlows([_state(answers[index]) for index in range(count)])


def _state(answer: Any) -> FlowState:
    sides = [answer.snapshot.side[direction] for direction in DIRECTIONS]
    return FlowState(
        number=answer.number,
        five_tuple=bytes(ffi.buffer(ffi.addressof(answer, "tuple"))),
        packets=[side.packets for side in sides],
        payload=[side.bytes for side in sides],
        states=[side.state for side in sides],
        gets=[_bits(answer.gets[direction]) for direction in DIRECTIONS],
        off=[_bits(answer.off[direction]) for direction in DIRECTIONS],
        modules=answer.modules,
        streams=[bool(answer.streams >> direction & 1) for direction in DIRECTIONS],
        seen=[bool(answer.seen >> direction & 1) for direction in DIRECTIONS],
        slot=answer.slot,
    )


def _bits(words: Iterable[int]) -> list[int]:
    return [
        64 * index + bit for index, word in enumerate(words) for bit in range(64) if word >> bit & 1
    ]
