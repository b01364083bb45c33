"""Steps of a condition's program, and how they are laid out (struct mb_condition_step)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from microbox._core import ffi, lib

_LAYOUT = struct.Struct("=BBHIq")  # opcode, width, place, target, value


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `skip`: how many steps it may pass over; `constant`: bytes that it refers to."""

    opcode: int
    width: int = 0
    place: int = 0
    target: int = 0
    value: int = 0
    skip: int = 0
    constant: bytes | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A program as the worker takes it."""

    octets: bytes  # the steps, then the constants
    step_count: int
    counters: int


class TooLong(ValueError):
    """More steps, constants or pending values than the stack takes."""


def assemble(steps: Sequence[Step], counters: int) -> Program:
    """The program of these steps. Raises TooLong."""
    if len(steps) > lib.MB_CONDITION_STEPS_MAX:
        raise TooLong(f"{len(steps)} steps; at most {lib.MB_CONDITION_STEPS_MAX} are possible")
    constants = b""
    octets = b""
    for index, step in enumerate(steps):
        target = step.target
        if step.constant is not None:
            target = constants.find(step.constant)
            if target < 0:
                target = len(constants)
                constants += step.constant
        elif step.skip:
            target = index + 1 + step.skip
        octets += _LAYOUT.pack(step.opcode, step.width, step.place, target, step.value)
    if len(constants) > lib.MB_CONDITION_CONSTANTS_MAX:
        raise TooLong(
            f"{len(constants)} bytes of constants; at most {lib.MB_CONDITION_CONSTANTS_MAX} are "
            "possible"
        )
    program = Program(octets + constants, len(steps), counters)
    _check(program)
    return program


def _check(program: Program) -> None:
    """As the worker will, so that what it would refuse is told with its place."""
    condition = ffi.new("struct mb_condition *")
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    size = len(program.octets)
    status = lib.mb_condition_load(
        condition, program.octets, size, program.step_count, program.counters, error
    )
    if status != 0:
        raise TooLong(ffi.string(error).decode())
