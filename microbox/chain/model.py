"""What a chain file may say, and the checked chain that comes of it.

The pydantic models are the file's schema. A field's description is the second half of its error
message ("what was expected") and its sentence in the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
)

from microbox.chain.conditions.rule import Rule
from microbox.chain.errors import NOWHERE, Position
from microbox.chain.listening import PORT_MAX, Address
from microbox.chain.stack_settings import U32_MAX, Duration, Section, Size, StackSettings
from microbox.chain.supervision import (
    NO_SUPERVISION,
    MemorySize,
    Restart,
    RestartEntry,
    Supervision,
    WorkerFailureEntry,
)
from microbox.chain.written_forms import AlsoNamesNF, AlsoWritten, NamesNF, one_of_numbers
from microbox.channel.messages import HostNetwork, Sandbox, TypeDeclaration

LOG_SLOTS_DEFAULT = 65_536
LOG_SLOTS_MIN = 4096  # MB_LOG_SLOTS_MIN
LOG_SLOTS_MAX = 1 << 24
_POWERS_OF_TWO = [1 << bit for bit in range(12, 25)]  # from the one to the other
INSTANCES_MAX = 64  # MB_NFS_MAX
WORKERS_MAX = 64  # MB_WORKERS_MAX
INPUT_BYTES_MAX_DEFAULT = 2 << 30
INPUT_WINDOW_DEFAULT = 256 << 20
INPUT_WINDOW_MIN = 4 << 20
STANDARD_INPUT = Path("-")
"""As `-r` names it."""


@dataclass(frozen=True)
class Input:
    """What a chain reads: captures one behind the other, directories of captures among them, or
    standard input."""

    paths: tuple[Path, ...]

    @property
    def is_piped(self) -> bool:
        """True for standard input alone."""
        return self.paths == (STANDARD_INPUT,)

    def in_a_file(self) -> str:
        """As a chain file says it; "-" for what only the command line can say."""
        if self.is_piped or len(self.paths) > 1:
            return str(STANDARD_INPUT)
        return str(self.paths[0].absolute())

    def __str__(self) -> str:
        """As people read it."""
        return "standard input" if self.is_piped else ", ".join(map(str, self.paths))


_INSTANCE_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")


def instance_name(name: str) -> str:
    """The name itself, fit for a log file's name. Raises ValueError."""
    if not _INSTANCE_NAME.fullmatch(name):
        raise ValueError("not fit for a file name")
    return name


class LogSettings(Section):
    """`log`: the shared event log."""

    slots: Annotated[
        int, Field(ge=LOG_SLOTS_MIN, le=LOG_SLOTS_MAX), one_of_numbers(_POWERS_OF_TWO)
    ] = Field(default=LOG_SLOTS_DEFAULT, description="a power of two from 4096 to 16777216")

    @field_validator("slots")
    @classmethod
    def _is_power_of_two(cls, slots: int) -> int:
        if slots & (slots - 1):
            raise ValueError("no power of two")
        return slots


class LogsSettings(Section):
    """`logs`: the files that NFs write."""

    directory: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="the directory for the NFs' logs"
    )
    utc: bool = Field(default=False, description="true or false")
    format: Literal["json", "eve"] = Field(default="json", description="json or eve")


_PATHS = "a list of paths or patterns such as ./rules/*.txt"
Paths = list[Annotated[str, Field(min_length=1)]]


class SandboxSettings(Section):
    """`sandbox`: what NFs may do. What is given takes the place of what their classes say."""

    enabled: bool | None = Field(default=None, description="true or false")
    files: Paths | None = Field(default=None, description=_PATHS)
    writes: Paths | None = Field(default=None, description=_PATHS)
    network: bool | None = Field(default=None, description="true or false")


SandboxEntry = Annotated[SandboxSettings, AlsoWritten({"enum": ["on", "off", True, False]})]
_SANDBOX = "on, off, or a mapping such as {network: false, files: [./rules]}"


def condition_text(value: object) -> object:
    """YAML reads some conditions as a truth value or a number."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


Condition = Annotated[
    str, BeforeValidator(condition_text), AlsoWritten({"type": ["boolean", "integer"]})
]
_CONDITION = "a condition such as source_port == 80 (docs/guide/conditions.md)"


class EventSettings(Section):
    """One entry of `events`: an event type that the stack filters."""

    parent: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="the name of an event type such as tcp.data"
    )
    when: Condition = Field(default="true", description=_CONDITION)
    counters: dict[str, Condition] = Field(
        default={}, description=f"a mapping of names to what is counted: a number, or {_CONDITION}"
    )
    at_most: Annotated[int, Field(ge=0, le=U32_MAX)] = Field(
        default=0, description="how often it may be published on a flow, a whole number"
    )
    doc: str = Field(default="", description="a sentence")


def address_text(value: object) -> object:
    """A port alone is a whole number in YAML."""
    return str(value) if type(value) is int else value


def _is_address(text: str | None) -> str | None:
    if text is not None:
        Address.parse(text)
    return text


MetricsAddress = Annotated[
    str | None,
    BeforeValidator(address_text),
    AfterValidator(_is_address),
    AlsoWritten({"type": "integer", "minimum": 0, "maximum": PORT_MAX}),
]

InstanceName = Annotated[
    str,
    AfterValidator(instance_name),
    WithJsonSchema({"type": "string", "pattern": _INSTANCE_NAME.pattern}),
]


EventEntry = Annotated[EventSettings, AlsoWritten({"type": ["string", "boolean"]})]


class NetworkFunctionEntry(BaseModel):
    """One entry of `chain`. All other keys are parameters of the NF."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, defer_build=True)

    nf: Annotated[str, Field(min_length=1), NamesNF()] = Field(
        description="the name of a built-in NF, or the path of a file such as ./my_nf.py"
    )
    name: InstanceName | None = Field(
        default=None,
        description="a name of letters, digits and _ . - that no other NF of the chain has",
    )
    on_error: Literal["stop", "skip"] = Field(default="stop", description="stop or skip")
    on_failure: Literal["open", "closed"] | None = Field(default=None, description="open or closed")
    on_lag: Literal["block", "skip"] = Field(default="block", description="block or skip")
    shadow: bool = Field(default=False, description="true or false")
    after: list[Annotated[str, Field(min_length=1)]] | None = Field(
        default=None,
        description="a list of the NFs in front that it waits for, such as [firewall], or []",
    )
    instances: Annotated[int, Field(ge=1, le=INSTANCES_MAX)] = Field(
        default=1,
        description=f"how many processes share out its flows, 1 to {INSTANCES_MAX}",
    )
    spread_by: Literal["flow", "hosts"] = Field(default="flow", description="flow or hosts")
    sandbox: SandboxEntry = Field(default_factory=SandboxSettings, description=_SANDBOX)
    restart: RestartEntry = Field(
        default=None, description="true, false, or a mapping such as {attempts: 5, backoff: 100ms}"
    )
    catch_up: Literal["flows"] | None = Field(default=None, description="flows")
    deadline: Duration | None = Field(
        default=None, description="a duration with its unit, such as 2s or 500ms"
    )
    memory: MemorySize | None = Field(
        default=None, description="a size with its unit from 16MiB on, such as 512MiB"
    )


ParallelNF = Annotated[NetworkFunctionEntry, AlsoNamesNF()]


class ParallelEntry(Section):
    """An entry of `chain` that is several NFs, none of which waits for another one of them."""

    parallel: Annotated[list[ParallelNF], Field(min_length=2)] = Field(
        description="a list of at least two NFs: names, paths, or {nf: NAME, PARAMETER: VALUE}"
    )


NF_ENTRY = "(an NF)"
PARALLEL_ENTRY = "(a parallel)"


def kind_of_entry(entry: object) -> str:
    """Which of both an entry of `chain` is. One that is neither is taken for an NF's."""
    if isinstance(entry, ParallelEntry):  # being written
        return PARALLEL_ENTRY
    is_parallel = isinstance(entry, dict) and "parallel" in entry and "nf" not in entry
    return PARALLEL_ENTRY if is_parallel else NF_ENTRY


ChainEntry = Annotated[
    Annotated[NetworkFunctionEntry, Tag(NF_ENTRY)] | Annotated[ParallelEntry, Tag(PARALLEL_ENTRY)],
    Discriminator(kind_of_entry),
    AlsoNamesNF(),
]


class ChainFile(Section):
    """The whole file."""

    input: Annotated[str, Field(min_length=1)] = Field(
        description="the path of a capture file (pcap or pcapng), or of a directory of such"
    )
    input_bytes_max: Size = Field(
        default=INPUT_BYTES_MAX_DEFAULT,
        description="a size such as 2GiB: the most that an input which is put into memory, packed "
        "or several captures, may take there",
    )
    input_window: Annotated[Size, Field(ge=INPUT_WINDOW_MIN)] = Field(
        default=INPUT_WINDOW_DEFAULT,
        description="a size such as 256MiB, at least 4MiB: the memory that a pipe is read into as "
        "it comes",
    )
    memory_max: Size | None = Field(
        default=None,
        description="a size such as 1GiB: the most that the chain's limits may come to in memory",
    )
    output: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="the path of a capture file to write"
    )
    chain: Annotated[list[ChainEntry], Field(min_length=1)] = Field(
        description="a list of NFs: names, paths, or {nf: NAME, PARAMETER: VALUE}"
    )
    events: dict[str, EventEntry] = Field(
        default={},
        description="a mapping of names to conditions, such as {tcp.data.get: {when: ...}}",
    )
    stack: StackSettings = Field(
        default_factory=StackSettings,
        description="a mapping of limits and timeouts",
    )
    workers: Annotated[int, Field(ge=1, le=WORKERS_MAX)] = Field(
        default=1,
        description=f"how many workers share out the packets, 1 to {WORKERS_MAX}",
    )
    log: LogSettings = Field(
        default_factory=LogSettings, description="a mapping such as {slots: 65536}"
    )
    logs: LogsSettings = Field(
        default_factory=LogsSettings,
        description="a mapping such as {directory: logs, utc: true}",
    )
    metrics: MetricsAddress = Field(
        default=None, description="a port such as 9090, or an address such as 0.0.0.0:9090"
    )
    sandbox: SandboxEntry = Field(default_factory=SandboxSettings, description=_SANDBOX)
    on_worker_failure: WorkerFailureEntry = Field(
        default=None,
        description="end, restart, or a mapping such as {attempts: 5, backoff: 100ms}",
    )
    include: str | list[str] = Field(
        default=[],
        description="the path of a chain file whose settings are taken in, or a list of such",
    )


ENTRY_KEYS = tuple(NetworkFunctionEntry.model_fields)
"""Keys of an entry of `chain` that are no parameters."""


@dataclass(frozen=True)
class Spread:
    """Which one of several instances that share out the flows of an NF."""

    entry: str  # the NF's name; an instance's is NAME.1, NAME.2, ...
    index: int  # from 0
    count: int  # at least 2
    by: str  # "flow" | "hosts": the five-tuple, or the pair of addresses alone


@dataclass(frozen=True)
class ChainNF:
    """One NF of a chain: which, with what, and where the file says so."""

    name: str  # of the process, unique in the chain
    source: Path  # its file, in Python or C
    parameters: dict[str, Any] = field(default_factory=dict)
    on_error: str = "stop"  # "stop" | "skip"
    on_failure: str | None = None  # "open" | "closed"; None: as its being inline suggests
    skips: bool = False  # on_lag: skip
    is_shadow: bool = False  # its verdicts are counted, and nothing comes of them
    after: tuple[str, ...] | None = None  # whom it waits for; None: as the NFs' manifests suggest
    group: int | None = None  # the `parallel` that it stands in, by number
    written: str = ""  # as the file has it: "flow_log", "./my_nf.py"
    position: Position = NOWHERE
    key_positions: dict[str, Position] = field(default_factory=dict)
    value_positions: dict[str, Position] = field(default_factory=dict)
    sandbox: Sandbox = field(default_factory=Sandbox)
    supervision: Supervision = NO_SUPERVISION
    added_because: str = ""  # why it is in the chain though the file does not name it
    spread: Spread | None = None  # None: one process has all flows

    @property
    def entry(self) -> str:
        """The name that the file gives it, which all its instances have."""
        return self.spread.entry if self.spread else self.name

    @property
    def is_first(self) -> bool:
        """True for one of several instances alone."""
        return self.spread is None or self.spread.index == 0

    def is_sibling(self, other: ChainNF) -> bool:
        """True where both are instances of one NF."""
        return self.spread is not None and other.spread is not None and self.entry == other.entry

    def instances(self, count: int, by: str) -> tuple[ChainNF, ...]:
        """The NF as that many processes."""
        if count == 1:
            return (self,)
        spreads = [Spread(self.name, index, count, by) for index in range(count)]
        return tuple(
            replace(self, name=f"{self.name}.{one.index + 1}", spread=one) for one in spreads
        )


@dataclass(frozen=True)
class ChainModule:
    """A user's module of the stack: its file, and where the chain names it. The rest is what the
    module says of itself, once it was asked."""

    source: Path
    position: Position = NOWHERE
    name: str = ""
    doc: str = ""
    needs: int = 0  # enum mb_module_bit
    flow_state_size: int = 0  # bytes that it keeps of each flow
    types: tuple[TypeDeclaration, ...] = ()


@dataclass(frozen=True)
class ChainEvent:
    """One entry of `events`. `places`: of each character of each text that is a condition, by the
    counter's name, or WHEN."""

    name: str  # as the file has it
    parent: str  # "": all of the name but its last word
    rule: Rule
    doc: str
    position: Position
    parent_position: Position
    places: dict[str, tuple[Position, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """A chain file whose every part is well-formed, defaults and overrides filled in."""

    file: str  # as the user wrote its path: messages begin with it
    input: Input
    output: Path | None
    nfs: tuple[ChainNF, ...]
    settings: dict[str, int] = field(default_factory=lambda: StackSettings().as_settings())
    hosts: tuple[HostNetwork, ...] = ()
    events: tuple[ChainEvent, ...] = ()
    log_slots: int = LOG_SLOTS_DEFAULT
    log_directory: Path | None = None  # None: the file does not say
    utc: bool = False
    log_format: str = "json"  # "json" | "eve"
    input_position: Position = NOWHERE
    input_bytes_max: int = INPUT_BYTES_MAX_DEFAULT  # of what cannot be mapped as it is
    memory_max: int | None = None  # bytes that its limits may come to; None: any
    memory_max_position: Position = NOWHERE
    input_window: int = INPUT_WINDOW_DEFAULT  # bytes that a pipe is read into as it comes
    modules: tuple[ChainModule, ...] = ()  # in the order in which they run
    metrics: Address | None = None  # where they are served; None: nowhere
    worker_restart: Restart | None = None  # on_worker_failure; None: the run ends
    workers: int = 1  # each handles a part of the packets, with processes of all NFs of its own
    workers_position: Position = NOWHERE
    effective: Mapping[str, Any] = field(default_factory=dict)  # all settings, as a file says them
    key_positions: Mapping[tuple[str | int, ...], Position] = field(
        default_factory=dict, compare=False
    )

    @property
    def may_stream(self) -> bool:
        """A pipe may be read as it comes: each packet is read once, by one worker."""
        return self.workers == 1 and self.worker_restart is None

    @property
    def base(self) -> Path:
        """The directory that paths among the NFs' parameters count from."""
        return Path(self.file).absolute().parent

    def base_of(self, entry: str) -> Path:
        """As `base`, for the NF of this name: the file that it stands in may be included."""
        for nf in self.nfs:
            if nf.entry == entry and nf.position.line:
                return Path(nf.position.file or self.file).absolute().parent
        return self.base

    def key_position(self, location: tuple[str | int, ...]) -> Position:
        """Where the file, or an option, says this; NOWHERE where nothing does."""
        return self.key_positions.get(location, NOWHERE)

    def inserting(self, before: int, nf: ChainNF) -> Chain:
        """This chain with one more NF, in front of the NF that is at `before` now."""
        return replace(self, nfs=(*self.nfs[:before], nf, *self.nfs[before:]))


@dataclass(frozen=True)
class Overrides:
    """What the command line says instead of the file. Paths count from the working directory."""

    input: Input | None = None
    output: Path | None = None
    log_directory: Path | None = None
    utc: bool | None = None
    workers: int | None = None
    settings: tuple[str, ...] = ()  # KEY=VALUE, in their order; the others go before them
