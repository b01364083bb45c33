"""Runs compiled conditions in the core, on entries made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from microbox._core import ffi, lib
from microbox.chain.conditions.compiler import compile_rule
from microbox.chain.conditions.rule import Rule
from microbox.chain.conditions.steps import Program
from microbox.events.catalog import built_in

RESULTS = {
    lib.MB_CONDITION_FALSE: False,
    lib.MB_CONDITION_TRUE: True,
    lib.MB_CONDITION_FAILED: None,
}


@dataclass
class Judge:
    """A program that was checked, with the counters of one flow."""

    program: Program
    counters: Any = field(init=False)

    def __post_init__(self) -> None:
        self._condition = ffi.new("struct mb_condition *")
        error = ffi.new("char[]", lib.MB_ERROR_SIZE)
        octets = self.program.octets
        counts = (self.program.step_count, self.program.counters)
        status = lib.mb_condition_load(self._condition, octets, len(octets), *counts, error)
        assert status == 0, ffi.string(error)
        self.counters = ffi.new("int64_t[]", max(1, self.program.counters))

    def __call__(self, entry: Any, data: bytes = b"", started: int = 0) -> bool | None:
        """True or false; None where the run failed."""
        entry.data_length = len(data)
        kept = ffi.new("uint8_t[]", data or b"\0")
        judged = ffi.new("struct mb_condition_input *")
        judged.entry, judged.data = entry, kept
        judged.started, judged.counters = started, self.counters
        return RESULTS[lib.mb_condition_run(self._condition, judged)]


@pytest.fixture(scope="session")
def judge() -> Callable[..., Judge]:
    """Compiles a condition on events of a type."""

    def compiled(
        when: str, on: str = "tcp.data", counters: dict[str, str] | None = None, at_most: int = 0
    ) -> Judge:
        catalog = built_in()
        rule = Rule(when, counters or {}, at_most)
        return Judge(compile_rule(rule, catalog.resolve(on), catalog))

    return compiled


@pytest.fixture
def entry() -> Any:
    """An entry with nothing in it."""
    return ffi.new("struct mb_entry *")
