"""What becomes of an NF's process that dies, stands still or takes too much: `restart`, `catch_up`,
`deadline` and `memory`; and of a worker that dies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from microbox.chain.stack_settings import Duration, Section
from microbox.chain.units import parse_size
from microbox.chain.written_forms import WRITTEN_AS_SIZE, AlsoWritten

NANOSECONDS = 1_000_000_000
ATTEMPTS_MAX = 1000
MEMORY_MIN = 16 << 20
"""Bytes; a thread's stack takes half of it."""

MemorySize = Annotated[
    int, BeforeValidator(parse_size), Field(ge=MEMORY_MIN, le=1 << 44), *WRITTEN_AS_SIZE
]


class RestartSettings(Section):
    """`restart` of an entry of `chain`."""

    attempts: Annotated[int, Field(ge=1, le=ATTEMPTS_MAX)] = Field(
        default=5, description=f"how often it is started again, 1 to {ATTEMPTS_MAX}"
    )
    backoff: Duration = Field(
        default=100_000_000, description="a duration with its unit, such as 100ms or 1s"
    )
    backoff_max: Duration = Field(
        default=10_000_000_000, description="a duration with its unit, such as 10s or 1m"
    )


RestartEntry = Annotated[RestartSettings | None, AlsoWritten({"type": "boolean"})]
WorkerFailureEntry = Annotated[RestartSettings | None, AlsoWritten({"enum": ["end", "restart"]})]


@dataclass(frozen=True, slots=True)
class Restart:
    """How often an NF, or the worker, is started again, and after how long."""

    attempts: int
    backoff: float  # seconds before the first time
    backoff_max: float  # seconds

    def delay(self, attempt: int) -> float:
        """Seconds before the attempt, counted from 1: twice as long each time."""
        doublings = min(attempt - 1, 32)
        return min(self.backoff * (1 << doublings), self.backoff_max)


@dataclass(frozen=True, slots=True)
class Supervision:
    """What the chain file says of one NF's process."""

    restart: Restart | None = None
    deadline: float = 0.0  # seconds that it may stand still while it has something to read; 0: any
    memory: int = 0  # bytes that its code may take; 0: any
    catches_up: bool = False  # where it comes while packets flow, it is told of the flows there are


def seconds_of(written: str) -> float:
    """A duration with its unit. Raises ValueError."""
    return int(_DURATION.validate_python(written)) / NANOSECONDS


NO_SUPERVISION = Supervision()

_LATE = ConfigDict(defer_build=True)
_RESTART: TypeAdapter[RestartSettings | None] = TypeAdapter(RestartEntry, config=_LATE)
_WORKER_FAILURE: TypeAdapter[RestartSettings | None] = TypeAdapter(WorkerFailureEntry, config=_LATE)
_DURATION: TypeAdapter[int] = TypeAdapter(Duration, config=_LATE)
_MEMORY: TypeAdapter[int] = TypeAdapter(MemorySize, config=_LATE)


def supervision_of(entry: Mapping[str, Any]) -> Supervision:
    """Of an entry of `chain`. What is wrong in it is left out: it has been complained of."""
    restart = _checked(_RESTART, entry.get("restart"))
    deadline = _checked(_DURATION, entry["deadline"]) if "deadline" in entry else None
    memory = _checked(_MEMORY, entry["memory"]) if "memory" in entry else None
    return Supervision(
        memory=memory or 0,
        restart=_restart_of(restart) if restart else None,
        deadline=(deadline or 0) / NANOSECONDS,
        catches_up=entry.get("catch_up") == "flows",
    )


def worker_restart_of(written: object) -> Restart | None:
    """What `on_worker_failure` says; None: the run ends. What is wrong in it is left out."""
    settings = _checked(_WORKER_FAILURE, written)
    return _restart_of(settings) if settings else None


def _restart_of(settings: RestartSettings) -> Restart:
    return Restart(
        settings.attempts, settings.backoff / NANOSECONDS, settings.backoff_max / NANOSECONDS
    )


def _checked(adapter: TypeAdapter[Any], value: object) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None
