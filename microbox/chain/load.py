"""Reads a chain file: YAML in, a checked `Chain` out, or all that is wrong with it.

What the file says to read (input, NFs, paths among their parameters) counts from the file's own
directory; what it says to write (output, logs) from the working directory, as does all that the
command line says.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from microbox.chain.conditions.rule import WHEN, Rule
from microbox.chain.document import Document, Location, read_document
from microbox.chain.errors import (
    NOWHERE,
    ChainError,
    ChainErrors,
    Position,
    describe_value,
    did_you_mean,
)
from microbox.chain.model import (
    ENTRY_KEYS,
    INPUT_BYTES_MAX_DEFAULT,
    PARALLEL_ENTRY,
    STANDARD_INPUT,
    WORKERS_MAX,
    Chain,
    ChainEvent,
    ChainModule,
    ChainNF,
    EventSettings,
    LogSettings,
    LogsSettings,
    NetworkFunctionEntry,
    Overrides,
    SandboxSettings,
    instance_name,
    kind_of_entry,
)
from microbox.chain.sources import (
    PARSERS_PACKAGE,
    built_in_names,
    built_in_source,
    is_path,
    syntax_error_of,
)
from microbox.chain.stack_settings import Size, StackSettings
from microbox.chain.supervision import supervision_of, worker_restart_of
from microbox.chain.validate import validate
from microbox.channel.messages import Sandbox
from microbox.nf.shared_object import is_c

Settings = TypeVar("Settings", bound=BaseModel)


@dataclass
class Reading:
    """What could be read of a chain file. `chain` holds the sound parts; None: nothing is sound."""

    chain: Chain | None
    errors: list[ChainError]


def load_chain(path: Path, overrides: Overrides | None = None) -> Chain:
    """The chain that the file describes. Raises ChainErrors, with every error of the file."""
    reading = read_chain(path, overrides)
    if reading.errors or reading.chain is None:
        raise ChainErrors(reading.errors)
    return reading.chain


def read_chain(path: Path, overrides: Overrides | None = None) -> Reading:
    """As `load_chain`, but keeps what is sound where something is wrong, so that the NFs
    themselves can be checked as well before anything is reported."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return Reading(None, [_unreadable(path, error)])
    except UnicodeDecodeError as error:
        message = f"byte {error.start} is not UTF-8; expected a chain file (YAML text)"
        return Reading(None, [ChainError(str(path), 1, 1, message)])
    return read_chain_text(text, path, overrides)


def read_chain_text(text: str, path: Path, overrides: Overrides | None = None) -> Reading:
    """As `read_chain`, of a text that stands at `path`, or might."""
    try:
        document = read_document(text, str(path))
    except ChainErrors as errors:
        return Reading(None, list(errors.errors))
    return _Loader(path, document, overrides or Overrides()).load()


def _unreadable(path: Path, error: OSError) -> ChainError:
    if isinstance(error, FileNotFoundError):
        return ChainError(str(path), 0, 0, "no such file; expected a chain file", _near_file(path))
    reason = (error.strerror or str(error)).lower()
    return ChainError(str(path), 0, 0, f"{reason}; expected a chain file that can be read")


def _near_file(path: Path) -> str:
    try:
        names = {entry.name: entry for entry in path.parent.iterdir()}
    except OSError:
        return ""
    nearest = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean '{path.with_name(nearest[0])}'?" if nearest else ""


class _Loader:
    def __init__(self, path: Path, document: Document, overrides: Overrides) -> None:
        self._base = path.parent
        self._document = document
        self._overrides = overrides
        self._sandbox = SandboxSettings()  # for all NFs

    def load(self) -> Reading:
        value = self._document.value
        if not isinstance(value, dict):
            self._document.complain(
                self._document.value_position(()),
                f"the file holds {describe_value(value)}; expected the keys 'input' and 'chain'",
            )
            return Reading(None, self._document.errors)
        self._normalise(value)
        given = dict(value)
        if self._overrides.input is not None:
            given["input"] = str(self._overrides.input)
        validate(given, self._document)
        chain = self._chain(value)
        return Reading(chain, sorted(set(self._document.errors)))

    def _normalise(self, value: dict[str, Any]) -> None:
        """`- flow_log` becomes `{nf: flow_log}`, and a condition alone `{when: condition}`: so that
        an error names the entry, not a union."""
        _normalise_sandbox(value)
        events = value.get("events")
        if isinstance(events, dict):
            value["events"] = {
                name: {"when": entry} if isinstance(entry, str | bool) else entry
                for name, entry in events.items()
            }
        entries = value.get("chain")
        if not isinstance(entries, list):
            return
        value["chain"] = [_as_mapping(entry) for entry in entries]
        for entry in value["chain"]:
            if kind_of_entry(entry) == PARALLEL_ENTRY and isinstance(entry["parallel"], list):
                entry["parallel"] = [_as_mapping(one) for one in entry["parallel"]]

    def _chain(self, value: dict[str, Any]) -> Chain | None:
        """The sound parts of the file; None where there is no NF to speak of."""
        entries = value.get("chain")
        self._sandbox = _sound(SandboxSettings, value.get("sandbox"))
        nfs = self._nfs(entries) if isinstance(entries, list) else []
        capture = self._input(value.get("input"))
        output = self._output(value.get("output"), capture)
        if not nfs:
            return None
        logs = _sound(LogsSettings, value.get("logs"))
        utc = logs.utc if self._overrides.utc is None else self._overrides.utc
        stack = _sound(StackSettings, value.get("stack"))
        made = Chain(
            file=self._document.file,
            input=capture or Path(),
            output=output,
            nfs=tuple(nfs),
            settings=stack.as_settings(),
            hosts=stack.host_networks(),
            events=self._events(value.get("events")),
            log_slots=_sound(LogSettings, value.get("log")).slots,
            log_directory=self._overrides.log_directory
            or (Path(logs.directory) if logs.directory else None),
            utc=utc,
            input_position=self._input_position(),
            input_bytes_max=self._input_bytes_max(value.get("input_bytes_max")),
            workers=self._workers(value.get("workers")),
            workers_position=self._workers_position(),
            modules=self._modules(value.get("stack")),
            worker_restart=worker_restart_of(value.get("on_worker_failure")),
        )
        self._check_worker_restart(made)
        return made

    def _workers(self, written: object) -> int:
        if self._overrides.workers is not None:
            return self._overrides.workers
        is_sound = type(written) is int and 1 <= written <= WORKERS_MAX
        return written if isinstance(written, int) and is_sound else 1

    def _check_worker_restart(self, chain: Chain) -> None:
        """What several write is put together from one part of each."""
        if chain.workers == 1 or chain.worker_restart is None:
            return
        self._document.complain(
            self._document.value_position(("on_worker_failure",)),
            f"one of {chain.workers} workers cannot be replaced; expected `on_worker_failure: "
            "end`, or one worker",
        )

    def _workers_position(self) -> Position:
        if self._overrides.workers is not None:
            return NOWHERE
        return self._document.value_position(("workers",))

    def _from_base(self, written: str) -> Path:
        return Path(os.path.normpath(self._base / written))

    def _input(self, written: object) -> Path | None:
        if self._overrides.input == STANDARD_INPUT:
            return STANDARD_INPUT
        if self._overrides.input is not None:
            return self._existing_file(self._overrides.input, "-r", NOWHERE)
        if not isinstance(written, str) or not written:
            return None
        return self._existing_file(self._from_base(written), "", self._input_position())

    @staticmethod
    def _input_bytes_max(written: object) -> int:
        try:
            return TypeAdapter[int](Size).validate_python(written)
        except ValidationError:  # which was said already, where it is written at all
            return INPUT_BYTES_MAX_DEFAULT

    def _input_position(self) -> Position:
        if self._overrides.input is not None:
            return NOWHERE
        return self._document.value_position(("input",))

    def _existing_file(self, path: Path, option: str, position: Position) -> Path | None:
        expected = "expected a capture file (pcap or pcapng)"
        file = option or self._document.file
        if path.is_dir():
            message, hint = f"'{path}' is a directory; {expected}", ""
        elif not path.exists():
            message, hint = f"no such file '{path}'; {expected}", _near_file(path)
        else:
            return path
        self._document.errors.append(ChainError(file, *position, message, hint))
        return None

    def _output(self, written: object, capture: Path | None) -> Path | None:
        path = self._overrides.output
        file, position = "--output", NOWHERE
        if path is None:
            if not isinstance(written, str) or not written:
                return None
            path = Path(written)
            file, position = self._document.file, self._document.value_position(("output",))
        message = _unwritable(path, capture)
        if message:
            self._document.errors.append(ChainError(file, *position, message))
        return path

    def _modules(self, stack: object) -> tuple[ChainModule, ...]:
        """Those whose files exist."""
        modules = []
        for index, written in enumerate(_sound(StackSettings, stack).modules):
            position = self._document.value_position(("stack", "modules", index))
            source = self._from_base(written)
            if source.is_file():
                modules.append(ChainModule(source, position))
                continue
            kind = "is a directory" if source.is_dir() else "does not exist"
            self._document.complain(
                position,
                f"'{source}' {kind}; expected the shared object of a module",
                _near_file(source),
            )
        return tuple(modules)

    def _events(self, entries: object) -> tuple[ChainEvent, ...]:
        if not isinstance(entries, dict):
            return ()
        return tuple(
            self._event(name, EventSettings.model_validate(entry))
            for name, entry in entries.items()
            if _is_sound(EventSettings, entry)
        )

    def _event(self, name: str, entry: EventSettings) -> ChainEvent:
        here: Location = ("events", name)
        texts = {(*here, WHEN): entry.when}
        texts |= {(*here, "counters", one): text for one, text in entry.counters.items()}
        return ChainEvent(
            name=name,
            parent=entry.parent or "",
            rule=Rule(entry.when, dict(entry.counters), entry.at_most),
            doc=entry.doc,
            position=self._document.key_position(here),
            parent_position=self._document.value_position((*here, "parent")),
            places={
                str(location[-1]): self._document.character_positions(location, text)
                for location, text in texts.items()
            },
        )

    def _nfs(self, entries: list[Any]) -> list[ChainNF]:
        nfs: list[ChainNF] = []
        names: dict[str, ChainNF] = {}
        for entry, location, group in _flat(entries):
            if not isinstance(entry, dict) or not isinstance(entry.get("nf"), str):
                continue
            nf = self._nf(entry, location, group)
            if nf is None:
                continue
            settings = _spread_of(entry)
            instances = nf.instances(settings.instances, settings.spread_by)
            taken = [one for one in (nf, *instances) if one.name in names]
            if taken and not _has_wrong_name(entry):
                self._complain_of_name(taken[0], names[taken[0].name], location)
                continue
            if not _has_wrong_name(entry):
                names.update({one.name: nf for one in (nf, *instances)})
            nfs += instances
        return nfs

    def _nf(self, entry: dict[str, Any], location: Location, group: int | None) -> ChainNF | None:
        written = entry["nf"]
        position = self._document.value_position((*location, "nf"))
        source = self._source(written, position)
        if source is None or not (is_c(source) or self._is_python(source, position)):
            return None
        given = [key for key in entry if key not in ENTRY_KEYS]
        name = entry.get("name")
        if not _is_instance_name(name):
            name = source.stem
        return ChainNF(
            name=name,
            source=source,
            parameters={key: entry[key] for key in given},
            on_error="skip" if entry.get("on_error") == "skip" else "stop",
            on_failure=_known(entry.get("on_failure"), ("open", "closed")),
            skips=entry.get("on_lag") == "skip",
            is_shadow=entry.get("shadow") is True,
            after=_names(entry.get("after")),
            group=group,
            sandbox=self._sandbox_of(_sound(SandboxSettings, entry.get("sandbox"))),
            supervision=supervision_of(entry),
            written=written,
            position=position,
            key_positions={key: self._document.key_position((*location, key)) for key in entry},
            value_positions={key: self._document.value_position((*location, key)) for key in entry},
        )

    def _sandbox_of(self, own: SandboxSettings) -> Sandbox:
        """An entry's `sandbox`; for what that leaves out, the chain's."""
        given = self._sandbox.model_dump(exclude_none=True) | own.model_dump(exclude_none=True)
        for name in ("files", "writes"):
            if name in given:
                given[name] = [self._absolute(one) for one in given[name]]
        return Sandbox(is_on=given.pop("enabled", True), **given)

    def _absolute(self, pattern: str) -> str:
        """A "/" at the end says that it is a directory, and stays."""
        return f"{self._from_base(pattern).absolute()}{'/' if pattern.endswith('/') else ''}"

    def _source(self, written: str, position: Position) -> Path | None:
        if is_path(written):
            source = self._from_base(written)
            if source.is_file():
                return source
            kind = "is a directory" if source.is_dir() else "does not exist"
            self._document.complain(
                position,
                f"'{source}' {kind}; expected the file of an NF",
                _near_file(source),
            )
            return None
        source_of_built_in = built_in_source(written) or built_in_source(written, PARSERS_PACKAGE)
        if source_of_built_in is not None:
            return source_of_built_in
        hint = did_you_mean(written, built_in_names())
        if (self._base / f"{written}.py").is_file():
            hint = f"did you mean './{written}.py'?"
        self._document.complain(
            position,
            f"no built-in NF is called '{written}'; expected a name that `microbox nfs` lists, "
            "or a path such as ./my_nf.py",
            hint,
        )
        return None

    def _is_python(self, source: Path, position: Position) -> bool:
        try:
            error = syntax_error_of(source)
        except OSError as failure:
            reason = (failure.strerror or str(failure)).lower()
            self._document.complain(position, f"'{source}' cannot be read: {reason}")
            return False
        if error is None:
            return True
        line = (error.text or "").rstrip()
        self._document.errors.append(
            ChainError(
                str(source),
                error.lineno or 1,
                error.offset or 1,
                f"this is not Python: {error.msg}",
                detail=line,
            )
        )
        return False

    def _complain_of_name(self, nf: ChainNF, first: ChainNF, location: Location) -> None:
        position = nf.value_positions.get("name") or self._document.value_position(location)
        self._document.complain(
            position,
            f"two NFs are called '{nf.name}', the first in line {first.position.line}; "
            "expected a `name:` that tells them apart",
            f"for example {{nf: {nf.written}, name: {nf.name}_2}}",
        )


def _as_mapping(entry: Any) -> Any:
    if isinstance(entry, dict):
        _normalise_sandbox(entry)
    return {"nf": entry} if isinstance(entry, str) else entry


def _flat(entries: list[Any]) -> Iterator[tuple[Any, Location, int | None]]:
    """The NFs' entries, where they are, and the number of the `parallel` that they stand in."""
    for index, entry in enumerate(entries):
        if kind_of_entry(entry) != PARALLEL_ENTRY:
            yield entry, ("chain", index), None
        elif isinstance(entry["parallel"], list):
            for number, one in enumerate(entry["parallel"]):
                yield one, ("chain", index, "parallel", number), index


def _names(value: object) -> tuple[str, ...] | None:
    """A list of names; None where it is none, which is complained of."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return None
    return tuple(value)


def _normalise_sandbox(section: dict[str, Any]) -> None:
    """`sandbox: off` becomes `{enabled: false}`. YAML 1.1 reads `off` as false, 1.2 as a text."""
    switched = {"on": True, "off": False, True: True, False: False}
    written = section.get("sandbox")
    if isinstance(written, str | bool) and written in switched:
        section["sandbox"] = {"enabled": switched[written]}


def _has_wrong_name(entry: dict[str, Any]) -> bool:
    """True where the name was complained of already; the NF goes by its file's name meanwhile."""
    return entry.get("name") is not None and not _is_instance_name(entry["name"])


def _spread_of(entry: dict[str, Any]) -> NetworkFunctionEntry:
    """The entry with what it soundly says of instances, and nothing else."""
    given = {key: entry[key] for key in ("instances", "spread_by") if key in entry}
    try:
        return NetworkFunctionEntry.model_validate({"nf": entry["nf"] or "?", **given})
    except ValidationError:
        return NetworkFunctionEntry(nf="?")


def _is_instance_name(name: object) -> TypeGuard[str]:
    try:
        return isinstance(name, str) and bool(instance_name(name))
    except ValueError:
        return False


def _known(value: object, choices: tuple[str, ...]) -> str | None:
    return value if isinstance(value, str) and value in choices else None


def _sound(model: type[Settings], value: object) -> Settings:
    """The section's settings, or its defaults where it is wrong (which was said already)."""
    try:
        return model.model_validate(value if value is not None else {})
    except ValidationError:
        return model()


def _is_sound(model: type[BaseModel], value: object) -> bool:
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


def _unwritable(path: Path, capture: Path | None) -> str:
    if path.is_dir():
        return f"'{path}' is a directory; expected a capture file to write"
    if not path.parent.is_dir():
        return f"'{path.parent}' is no directory; expected a capture file to write in one"
    if capture is None or capture == STANDARD_INPUT or not path.exists():
        return ""
    if not path.samefile(capture):
        return ""
    return f"'{path}' is the input; expected another file to write"
