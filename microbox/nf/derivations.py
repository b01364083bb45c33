"""What is derived, by conditions, from what an NF publishes: judged in C as it publishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbox._core import ffi, lib
from microbox.channel.messages import WorkerDerivedType
from microbox.nf.errors import UsageError

TYPE_WORDS = 8


def set_of(types: Sequence[int]) -> list[int]:
    """A set of types as 512 bits in words of 64."""
    words = [0] * TYPE_WORDS
    for one in types:
        words[one // 64] |= 1 << (one % 64)
    return words


def derived_rows(types: Sequence[WorkerDerivedType]) -> tuple[Any, list[Any]]:
    """The derived types as an array for C, and the programs that it points to."""
    rows = ffi.new("struct mb_derived_type[]", len(types))
    programs = [ffi.new("uint8_t[]", each.program) for each in types]
    for row, each, program in zip(rows, types, programs, strict=True):
        row.type, row.parent, row.counters = each.type, each.parent, each.counters
        row.program, row.program_size = program, len(each.program)
        row.step_count = each.step_count
        row.bases = set_of(each.bases)
    return rows, programs


class Derivations:
    """Those of one reader, from when it is made."""

    def __init__(self, types: Sequence[WorkerDerivedType], reader: Any) -> None:
        """`reader`: struct mb_reader *. Raises UsageError where a program is not sound."""
        rows, programs = derived_rows(types)
        error = ffi.new("char[]", lib.MB_ERROR_SIZE)
        made = lib.mb_derivations_create(rows, len(types), error)
        del programs  # they were copied
        if made == ffi.NULL:
            raise UsageError(ffi.string(error).decode())
        self._derivations = ffi.gc(made, lib.mb_derivations_destroy)
        lib.mb_derivations_attach(self._derivations, reader)

    def use_pool(self, pool: Any, size: int) -> None:
        """Where the bytes of events lie."""
        lib.mb_derivations_use_pool(self._derivations, pool, size)
