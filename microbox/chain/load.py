"""Reads a chain file: YAML in, a checked `Chain` out, or all that is wrong with it.

What the file says to read (input, NFs, paths among their parameters) counts from the file's own
directory; what it says to write (output, logs) from the working directory, as does all that the
command line says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from microbox.chain.assignments import assign
from microbox.chain.conditions.rule import WHEN, Rule
from microbox.chain.document import Document, Location, read_document
from microbox.chain.effective import effective_settings
from microbox.chain.entries import EntryLoader
from microbox.chain.environment import substitute
from microbox.chain.errors import ChainError, ChainErrors, Position, describe_value
from microbox.chain.inclusion import include
from microbox.chain.listening import Address
from microbox.chain.model import (
    INPUT_BYTES_MAX_DEFAULT,
    INPUT_WINDOW_DEFAULT,
    INPUT_WINDOW_MIN,
    STANDARD_INPUT,
    WORKERS_MAX,
    Chain,
    ChainEvent,
    ChainModule,
    EventSettings,
    Input,
    LogSettings,
    LogsSettings,
    Overrides,
    address_text,
)
from microbox.chain.named_files import missing_capture, missing_file, near_file, unwritable
from microbox.chain.short_forms import write_out
from microbox.chain.stack_settings import Size, StackSettings
from microbox.chain.supervision import worker_restart_of
from microbox.chain.validate import is_sound, sound, validate


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
        document = _substituted(text, str(path))
    except ChainErrors as errors:
        return Reading(None, list(errors.errors))
    include(document, _substituted)
    return _Loader(document, overrides or Overrides()).load()


def _substituted(text: str, file: str) -> Document:
    """The document of a text that stands in this file, with what it takes from the environment."""
    document = read_document(text, file)
    substitute(document, os.environ)
    return document


def _unreadable(path: Path, error: OSError) -> ChainError:
    if isinstance(error, FileNotFoundError):
        return ChainError(str(path), 0, 0, "no such file; expected a chain file", near_file(path))
    reason = (error.strerror or str(error)).lower()
    return ChainError(str(path), 0, 0, f"{reason}; expected a chain file that can be read")


class _Loader:
    def __init__(self, document: Document, overrides: Overrides) -> None:
        self._document = document
        self._overrides = overrides

    def load(self) -> Reading:
        value = self._document.value
        if not isinstance(value, dict):
            self._document.complain(
                self._document.value_position(()),
                f"the file holds {describe_value(value)}; expected the keys 'input' and 'chain'",
            )
            return Reading(None, self._document.errors)
        write_out(value)
        for setting in self._overrides.settings:
            assign(setting, value, self._document)
        write_out(value)
        file = validate(self._overridden(value), self._document)
        chain = self._chain(value)
        if chain is not None and file is not None:
            effective = effective_settings(file, self._document)
            chain = replace(chain, effective=effective, key_positions=self._document.keys_at)
        return Reading(chain, sorted(set(self._document.errors)))

    def _overridden(self, value: dict[str, Any]) -> dict[str, Any]:
        """The file's value, with what options of their own say in its place."""
        given = dict(value)
        if self._overrides.input is not None:
            given["input"] = self._overrides.input.in_a_file()
        if self._overrides.output is not None:
            given["output"] = str(self._overrides.output)
        if self._overrides.workers is not None:
            given["workers"] = self._overrides.workers
        return given

    def _chain(self, value: dict[str, Any]) -> Chain | None:
        """The sound parts of the file; None where there is no NF to speak of."""
        nfs = EntryLoader(self._document).load(value)
        capture = self._input(value.get("input"))
        output = self._output(value.get("output"), capture)
        if not nfs:
            return None
        logs = sound(LogsSettings, value.get("logs"))
        utc = logs.utc if self._overrides.utc is None else self._overrides.utc
        stack = sound(StackSettings, value.get("stack"))
        made = Chain(
            file=self._document.file,
            input=capture or Input(()),
            output=output,
            nfs=tuple(nfs),
            settings=stack.as_settings(),
            hosts=stack.host_networks(),
            events=self._events(value.get("events")),
            log_slots=sound(LogSettings, value.get("log")).slots,
            log_directory=self._overrides.log_directory
            or (Path(logs.directory) if logs.directory else None),
            utc=utc,
            log_format=logs.format,
            input_position=self._input_position(),
            input_bytes_max=_size(value.get("input_bytes_max")) or INPUT_BYTES_MAX_DEFAULT,
            memory_max=_size(value.get("memory_max")),
            memory_max_position=self._document.value_position(("memory_max",)),
            input_window=max(
                _size(value.get("input_window")) or INPUT_WINDOW_DEFAULT, INPUT_WINDOW_MIN
            ),
            workers=self._workers(value.get("workers")),
            workers_position=self._workers_position(),
            modules=self._modules(stack),
            metrics=_metrics(value.get("metrics")),
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
            return Position(file="--workers")
        return self._document.value_position(("workers",))

    def _input(self, written: object) -> Input | None:
        given = self._overrides.input
        if given is not None:
            files = [path for path in given.paths if path != STANDARD_INPUT]
            return given if all(list(map(self._is_there, files))) else None
        if not isinstance(written, str) or not written:
            return None
        path = self._document.path(("input",), written)
        return Input((path,)) if self._is_there(path) else None

    def _input_position(self) -> Position:
        if self._overrides.input is not None:
            return Position(file="-r")
        return self._document.value_position(("input",))

    def _is_there(self, path: Path) -> bool:
        """Says what is wrong with a path of the input."""
        message, hint = missing_capture(path)
        if message:
            self._document.complain(self._input_position(), message, hint)
        return not message

    def _output(self, written: object, capture: Input | None) -> Path | None:
        path, position = self._overrides.output, Position(file="--output")
        if path is None:
            if not isinstance(written, str) or not written:
                return None
            path, position = Path(written), self._document.value_position(("output",))
        message = unwritable(path, capture)
        if message:
            self._document.complain(position, message)
        return path

    def _modules(self, stack: StackSettings) -> tuple[ChainModule, ...]:
        """Those whose files exist."""
        modules = []
        for index, written in enumerate(stack.modules):
            location: Location = ("stack", "modules", index)
            position = self._document.value_position(location)
            source = self._document.path(location, written)
            if source.is_file():
                modules.append(ChainModule(source, position))
            else:
                expected = "the shared object of a module"
                self._document.complain(position, *missing_file(source, expected))
        return tuple(modules)

    def _events(self, entries: object) -> tuple[ChainEvent, ...]:
        if not isinstance(entries, dict):
            return ()
        return tuple(
            self._event(name, EventSettings.model_validate(entry))
            for name, entry in entries.items()
            if is_sound(EventSettings, entry)
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


def _size(written: object) -> int | None:
    """None where none is written, or one that makes no sense, which was said already."""
    try:
        return TypeAdapter[int](Size).validate_python(written)
    except ValidationError:
        return None


def _metrics(written: object) -> Address | None:
    """None where it is wrong, too, which was said."""
    try:
        return Address.parse(str(address_text(written))) if written is not None else None
    except ValueError:
        return None
