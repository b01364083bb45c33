"""What a chain takes at its limits: tables of the stack, the log, areas of the NFs, and
an input that cannot be mapped as it is.

Tables are reserved whole, and take memory as they are used: these are the most that they may come
to. What NFs take for themselves is theirs (`memory` of an entry of `chain`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbox._core import ffi, lib
from microbox.chain.errors import ChainError
from microbox.chain.named_files import is_pipe, is_put_into_memory
from microbox.chain.units import format_size
from microbox.channel.geometry import geometry_of

if TYPE_CHECKING:
    from microbox.chain.model import Chain
    from microbox.chain.plan import Plan, PlannedNF

AREA = "area"
"""The part that an NF's own area is."""

_OVERLAP = "tcp.anomaly.overlap.inconsistent"


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """Something that grows with limits of the chain file."""

    name: str  # a field of struct mb_memory, AREA, or "input"
    size: int  # bytes
    keys: tuple[str, ...]  # of the chain file, that make it smaller
    nf: str = ""  # whose area it is
    is_shared: bool = False  # by all workers; else each has one

    @property
    def words(self) -> str:
        """As people read it."""
        return f"area of {self.nf}" if self.nf else self.name.replace("_", " ")


_KEYS = {
    "log": ("log.slots",),
    "flows": ("stack.flows_max",),
    "held_segments": ("stack.held_segments_max",),
    "compared_segments": ("stack.compared_segments_max",),
    "judged_bytes": ("stack.judged_bytes_max",),
    "fragments": ("stack.fragmented_datagrams_max", "stack.fragments_per_datagram"),
    "datagrams": ("stack.assembled_datagrams_max",),
    "commands": ("stack.command_delay",),
    "waiting_packets": ("log.slots",),
    "edited_frames": ("stack.version_bytes", "log.slots"),
}


def memory_parts(plan: Plan) -> list[MemoryPart]:
    """Of one worker and its NFs; what the chain has no use for is left out."""
    memory = lib.mb_worker_memory(_config(plan), _needs(plan))
    parts = [MemoryPart(name, getattr(memory, name), keys) for name, keys in _KEYS.items()]
    return [*_input(plan.chain), *(part for part in parts if part.size), *map(_area, plan.nfs)]


def most_memory(parts: Iterable[MemoryPart], workers: int) -> int:
    """All parts of so many workers together, in bytes."""
    return sum(part.size if part.is_shared else workers * part.size for part in parts)


def budget_errors(plan: Plan) -> list[ChainError]:
    """Where the chain's limits come to more than `memory_max`."""
    chain = plan.chain
    if chain.memory_max is None:
        return []
    parts = memory_parts(plan)
    most = most_memory(parts, chain.workers)
    if most <= chain.memory_max:
        return []
    takes = "the chain takes" if chain.workers == 1 else f"{chain.workers} workers take"
    return [
        ChainError.at(
            chain.file,
            chain.memory_max_position,
            f"`memory_max` is {format_size(chain.memory_max)}, and at its limits {takes} "
            f"{format_size(most)}",
            f"lower limits take less; the largest parts: {largest_in_words(parts)}",
        )
    ]


def largest_in_words(parts: Iterable[MemoryPart], count: int = 3) -> str:
    """The largest parts, each with the settings that make it smaller."""
    largest = sorted(parts, key=lambda part: -part.size)[:count]
    return ", ".join(f"{part.words} {format_size(part.size)}{_by(part.keys)}" for part in largest)


def _by(keys: Sequence[str]) -> str:
    return f" ({', '.join(f'`{key}`' for key in keys)})" if keys else ""


def log_size(slots: int) -> int:
    """Bytes of an event log."""
    return int(lib.MB_PAGE_SIZE + slots * ffi.sizeof("struct mb_entry"))


def _input(chain: Chain) -> Iterator[MemoryPart]:
    """Of a pipe it is not known yet whether it can be read as it comes, or is packed."""
    if chain.may_stream and is_pipe(chain.input):
        most = max(chain.input_window, chain.input_bytes_max)
        yield MemoryPart("input", most, ("input_window", "input_bytes_max"), is_shared=True)
    elif is_put_into_memory(chain.input):
        yield MemoryPart("input", chain.input_bytes_max, ("input_bytes_max",), is_shared=True)


def _config(plan: Plan) -> Any:
    config = ffi.new("struct mb_worker_config *")
    for name, value in plan.settings.items():
        setattr(config.stack, name, value)
    config.log_slots = plan.log_slots
    config.editors = plan.editors
    return config


def _needs(plan: Plan) -> Any:
    """Which tables the worker makes, from what the NFs are (struct mb_memory_needs)."""
    judges = [nf for nf in plan.nfs if nf.shape.is_inline]
    in_shadow = [nf for nf in judges if nf.is_shadow]
    deciding = [nf for nf in judges if not nf.is_shadow]
    decides = bool(judges) or plan.chain.output is not None
    needs = ffi.new("struct mb_memory_needs *")
    needs.gates = decides + len(in_shadow)
    needs.translating = any(nf.shape.rewrites for nf in deciding)
    needs.translating += sum(nf.shape.rewrites for nf in in_shadow)
    needs.judges = bool(judges)
    needs.edits = any(nf.shape.editor for nf in deciding)
    needs.takes_commands = bool(plan.worker_switches())
    needs.compares = plan.catalog.resolve(_OVERLAP).number in _types_wanted(plan)
    needs.counters = sum(one.counters for one in plan.derived)
    needs.module_states = sum(module.flow_state_size for module in plan.chain.modules)
    return needs


def _types_wanted(plan: Plan) -> Iterator[int]:
    """What somebody reads, and what that is derived from."""
    for nf in plan.nfs:
        for bit in nf.bits:
            yield from bit.wanted
    for derived in plan.derived:
        yield from derived.bases


def _area(nf: PlannedNF) -> MemoryPart:
    keys = []
    if nf.shape.is_inline:
        keys.append("log.slots")
    if nf.shape.command_slots:
        keys.append("stack.command_delay")
    return MemoryPart(AREA, lib.mb_nf_area_size(geometry_of(nf.shape)), tuple(keys), nf.name)
