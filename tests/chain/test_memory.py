"""What a chain takes at its limits: a part a limit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microbox._core import lib
from microbox.chain.errors import ChainErrors, Position
from microbox.chain.memory import AREA, MemoryPart, log_size, most_memory
from microbox.chain.model import INPUT_WINDOW_DEFAULT, STANDARD_INPUT, Input
from microbox.chain.plan import Plan
from microbox.chain.stack_settings import StackSettings
from microbox.chain.units import format_size
from microbox.channel.geometry import geometry_of

NF = Callable[..., Any]
MakePlan = Callable[..., Plan]


def everything(nf: NF, plan: MakePlan, log_slots: int = 65536, **limits: int) -> dict[str, int]:
    """Parts of a chain that has all of them, by name."""
    settings = StackSettings().as_settings() | limits
    made = plan(
        nf("ids", on=["tcp.data"], commands=True),
        nf("compare", on=["tcp.anomaly.overlap.inconsistent"]),
        nf("tag", on=["packet"], edits="headers", edits_packets=True),
        settings=settings,
        log_slots=log_slots,
    )
    return sizes(made)


def sizes(plan: Plan) -> dict[str, int]:
    return {part.words: part.size for part in plan.memory()}


def part_of(plan: Plan, words: str) -> MemoryPart:
    return next(part for part in plan.memory() if part.words == words)


@pytest.mark.parametrize(
    ("limit", "less", "part"),
    [
        ("flows_max", 900_000, "flows"),
        ("held_segments_max", 1000, "held segments"),
        ("compared_segments_max", 1000, "compared segments"),
        ("judged_bytes_max", 1 << 20, "judged bytes"),
        ("fragmented_datagrams_max", 100, "fragments"),
        ("fragments_per_datagram", 16, "fragments"),
        ("assembled_datagrams_max", 8, "datagrams"),
        ("version_bytes", 1 << 20, "edited frames"),
    ],
)
def test_a_lower_limit_makes_its_part_smaller_and_no_other(
    nf: NF, plan: MakePlan, limit: str, less: int, part: str
) -> None:
    before, after = everything(nf, plan), everything(nf, plan, **{limit: less})
    assert after[part] < before[part]
    assert {name for name in before if before[name] != after[name]} == {part}


@pytest.mark.parametrize(
    "limit", ["held_bytes_max", "held_bytes_per_flow", "held_segments_per_flow", "tcp_timeout"]
)
def test_what_is_no_memory_of_its_own_changes_nothing(nf: NF, plan: MakePlan, limit: str) -> None:
    assert everything(nf, plan, **{limit: 17}) == everything(nf, plan)


def test_a_longer_delay_of_commands_takes_more_in_the_worker_and_in_those_who_give_them(
    nf: NF, plan: MakePlan
) -> None:
    before, after = everything(nf, plan), everything(nf, plan, command_delay=1 << 16)
    grown = {name for name in before if before[name] != after[name]}
    assert grown == {"commands", "area of ids"}


def test_a_shorter_log_makes_all_smaller_that_has_a_place_a_slot(nf: NF, plan: MakePlan) -> None:
    before, after = everything(nf, plan), everything(nf, plan, log_slots=4096)
    shrunk = {name for name in before if before[name] > after[name]}
    assert shrunk == {"log", "waiting packets", "edited frames", "area of tag"}
    assert {name for name in before if before[name] != after[name]} == shrunk
    assert (before["log"], after["log"]) == (log_size(65536), log_size(4096))


def test_each_part_names_the_keys_that_make_it_smaller(nf: NF, plan: MakePlan) -> None:
    made = plan(nf("ids", on=["tcp.data"], inline=True, commands=True))
    assert part_of(made, "flows").keys == ("stack.flows_max",)
    assert part_of(made, "area of ids").keys == ("log.slots", "stack.command_delay")
    known = {*StackSettings.model_fields}
    for part in made.memory():
        for key in part.keys:
            assert key == "log.slots" or key.removeprefix("stack.") in known


def test_what_nobody_needs_is_not_there(nf: NF, plan: MakePlan) -> None:
    assert sizes(plan(nf("log", on=["tcp.end"]))).keys() == {
        "log",
        "flows",
        "held segments",
        "fragments",
        "datagrams",
        "area of log",
    }


def test_an_nf_in_shadow_takes_a_gate_of_its_own(nf: NF, plan: MakePlan) -> None:
    judge = nf("judge", on=["packet"], inline=True)
    one = sizes(plan(judge))
    two = sizes(plan(judge, nf("trial", on=["packet"], inline=True, shadow=True)))
    assert two["flows"] > one["flows"]
    assert two["waiting packets"] > one["waiting packets"]
    assert two["judged bytes"] == one["judged bytes"]


def test_an_nf_called_as_a_part_is_not_taken_for_it(nf: NF, plan: MakePlan) -> None:
    parts = [part for part in plan(nf("log", on=["packet"])).memory() if "log" in part.words]
    assert [(part.name, part.nf) for part in parts] == [("log", ""), (AREA, "log")]


def test_an_area_is_as_large_as_the_bus_makes_it(nf: NF, plan: MakePlan) -> None:
    made = plan(nf("ids", on=["tcp.data"], publishes=["alert"], inline=True))
    shape = made.nfs[0].shape
    assert part_of(made, "area of ids").size == lib.mb_nf_area_size(geometry_of(shape))
    assert part_of(made, "area of ids").size > shape.log_slots + shape.ring_bytes


# --- an input that cannot be mapped ---


def input_part(plan: MakePlan, nf: NF, *paths: Path) -> list[MemoryPart]:
    made = plan(nf("log", on=["tcp.end"]), chain_input=Input(paths), input_bytes_max=7 << 20)
    return [part for part in made.memory() if part.name == "input"]


@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd"])
def test_a_packed_input_takes_what_it_may(
    nf: NF, plan: MakePlan, tmp_path: Path, magic: bytes
) -> None:
    packed = tmp_path / "capture.gz"
    packed.write_bytes(magic)
    (part,) = input_part(plan, nf, packed)
    assert part == MemoryPart("input", 7 << 20, ("input_bytes_max",), is_shared=True)


def test_so_do_a_pipe_several_captures_and_a_directory(
    nf: NF, plan: MakePlan, tmp_path: Path
) -> None:
    plain = tmp_path / "capture.pcap"
    plain.write_bytes(b"\xd4\xc3\xb2\xa1")
    for paths in ([STANDARD_INPUT], [plain, plain], [tmp_path]):
        assert len(input_part(plan, nf, *paths)) == 1
    assert input_part(plan, nf, plain) == []


def test_a_pipe_with_a_name_is_not_waited_for(nf: NF, plan: MakePlan, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (part,) = input_part(plan, nf, tmp_path / "pipe")
    assert part.size == INPUT_WINDOW_DEFAULT
    assert part.keys == ("input_window", "input_bytes_max")


# --- the budget ---

PLACE = Position(7, 13)


def test_a_chain_that_fits_to_the_byte_is_planned(nf: NF, plan: MakePlan) -> None:
    parts = plan(nf("log", on=["tcp.end"]), workers=2).memory()
    most = most_memory(parts, 2)
    assert most == 2 * sum(part.size for part in parts)
    plan(nf("log", on=["tcp.end"]), workers=2, memory_max=most)
    with pytest.raises(ChainErrors):
        plan(nf("log", on=["tcp.end"]), workers=2, memory_max=most - 1)


def test_workers_share_an_input(nf: NF, plan: MakePlan) -> None:
    made = plan(nf("log", on=["tcp.end"]), chain_input=Input((STANDARD_INPUT,)))
    one, three = (most_memory(made.memory(), workers) for workers in (1, 3))
    assert three == 3 * (one - made.chain.input_bytes_max) + made.chain.input_bytes_max


def test_one_that_does_not_is_told_what_to_make_smaller(nf: NF, plan: MakePlan) -> None:
    judge = nf("judge", on=["tcp.data"], inline=True)
    parts = plan(judge).memory()
    flows, held, judged = (
        format_size(next(part.size for part in parts if part.words == words))
        for words in ("flows", "held segments", "judged bytes")
    )
    with pytest.raises(ChainErrors) as raised:
        plan(judge, memory_max=512 << 20, memory_max_position=PLACE)
    (error,) = raised.value.errors
    assert str(error) == (
        "chain.yaml:7:13: `memory_max` is 512.0 MiB, and at its limits the chain takes "
        f"{format_size(most_memory(parts, 1))}; lower limits take less; the largest parts: flows "
        f"{flows} (`stack.flows_max`), held segments {held} (`stack.held_segments_max`), judged "
        f"bytes {judged} (`stack.judged_bytes_max`)"
    )


def test_of_several_workers_it_is_the_sum(nf: NF, plan: MakePlan) -> None:
    with pytest.raises(ChainErrors, match="at its limits 2 workers take 9.* MiB"):
        plan(nf("log", on=["tcp.end"]), workers=2, memory_max=512 << 20)
