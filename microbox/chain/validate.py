"""What pydantic finds wrong with a chain file, in this project's words and with places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from microbox.chain.document import Document, Location
from microbox.chain.errors import describe_value, did_you_mean, one_of
from microbox.chain.model import (
    NF_ENTRY,
    PARALLEL_ENTRY,
    ChainFile,
    EventSettings,
    LogSettings,
    LogsSettings,
    NetworkFunctionEntry,
    ParallelEntry,
    SandboxSettings,
)
from microbox.chain.stack_settings import (
    ForceSettings,
    HostSettings,
    StackSettings,
    SuspiciousSettings,
)
from microbox.chain.supervision import RestartSettings

_SECTIONS: dict[str, type[BaseModel]] = {
    "": ChainFile,
    "stack": StackSettings,
    "stack.force": ForceSettings,
    "stack.hosts": HostSettings,
    "stack.suspicious": SuspiciousSettings,
    "log": LogSettings,
    "logs": LogsSettings,
    "chain": NetworkFunctionEntry,
    "chain.restart": RestartSettings,
    "on_worker_failure": RestartSettings,
    "chain.parallel": NetworkFunctionEntry,
    "chain.parallel.restart": RestartSettings,
    "sandbox": SandboxSettings,
    "chain.sandbox": SandboxSettings,
    "chain.parallel.sandbox": SandboxSettings,
}
"""The model of each mapping, by the names of the keys on the way to it."""

_ENTRIES = {
    "chain": "the name or path of an NF, or {nf: NAME, PARAMETER: VALUE}",
    "parallel": "the name or path of an NF, or {nf: NAME, PARAMETER: VALUE}",
    "hosts": "a mapping such as {network: 10.0.0.0/8, policy: linux}",
}
"""What an entry of a list is."""


Settings = TypeVar("Settings", bound=BaseModel)
_NAMED = 2  # labels of an entry of `events`
_KINDS_OF_ENTRY = (NF_ENTRY, PARALLEL_ENTRY)


def validate(given: Mapping[str, Any], document: Document) -> ChainFile | None:
    """The document's value, `given`, in which short forms are written out and the command line's
    say has taken its place; or None, and the document's errors say all that is wrong with it."""
    try:
        return ChainFile.model_validate(given)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            _complain_of(fault, given, document)
        return None


def sound(model: type[Settings], value: object) -> Settings:
    """The section's settings, or its defaults where it is wrong (which was said already)."""
    try:
        return model.model_validate(value if value is not None else {})
    except ValidationError:
        return model()


def is_sound(model: type[BaseModel], value: object) -> bool:
    """True where nothing is wrong with the value."""
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


def _complain_of(fault: Mapping[str, Any], given: Mapping[str, Any], document: Document) -> None:
    location: Location = tuple(part for part in fault["loc"] if part not in _KINDS_OF_ENTRY)
    key = str(location[-1]) if location else ""
    if fault["type"] == "extra_forbidden":
        keys = _keys_at(location[:-1])
        where = f" in `{_spelled(location[:-1])}`" if len(location) > 1 else ""
        document.complain(
            document.key_position(location),
            f"unknown key '{key}'{where}; expected {one_of(keys)}",
            did_you_mean(key, keys),
        )
        return
    if fault["type"] == "missing":
        _complain_of_missing(location, given, document)
        return
    expected = _description(location)
    document.complain(
        document.value_position(location),
        f"`{_spelled(location)}` is {describe_value(fault['input'])}; expected {expected}",
        _hint_for(fault, expected),
    )


def _complain_of_missing(location: Location, given: Mapping[str, Any], document: Document) -> None:
    parent = location[:-1]
    position = document.value_position(parent)
    if location[-1] != "nf" or location[0] != "chain":
        document.complain(
            position, f"`{_spelled(location)}` is missing; expected {_description(location)}"
        )
        return
    entry = _value_at(given, parent)
    hint = ""
    if len(entry) == 1:
        (only,) = entry
        hint = f"did you mean '{{nf: {only}, PARAMETER: VALUE}}'?"
    keys = ", ".join(f"'{key}'" for key in entry) or "no keys"
    document.complain(
        position, f"this entry of `chain` has {keys} but no `nf`; expected `nf: NAME`", hint
    )


def _value_at(given: Mapping[str, Any], location: Location) -> Any:
    value: Any = given
    for part in location:
        value = value[part]
    return value


def _hint_for(fault: Mapping[str, Any], expected: str) -> str:
    came = fault["input"]
    if fault["type"] == "literal_error" and isinstance(came, str):
        return did_you_mean(came, expected.replace(",", "").split())
    if fault["loc"] == ("chain",) and isinstance(came, str):
        return f"did you mean '[{came}]'?"
    if "duration" in expected and isinstance(came, int) and not isinstance(came, bool):
        return f"did you mean '{came}s'?"
    return ""


def _models_along(location: Location) -> type[BaseModel] | None:
    """The model of the mapping at `location`."""
    if location[:1] == ("events",):
        return EventSettings if len(location) == _NAMED else None
    return _SECTIONS.get(".".join(part for part in location if isinstance(part, str)))


def _keys_at(location: Location) -> tuple[str, ...]:
    """The keys that may stand there. Of the entries of `chain`, a `parallel` is closed."""
    model = ParallelEntry if location[:1] == ("chain",) else _models_along(location)
    return tuple(model.model_fields) if model else ()


def _description(location: Location) -> str:
    if not location:
        return "another value"
    *parent, name = location
    if tuple(parent) == ("events",):
        return "a condition, or a mapping such as {when: source_port == 80}"
    if location[:1] == ("events",) and parent[-1] == "counters":
        parent, name = parent[:-1], "counters"
    if isinstance(name, int):
        return _ENTRIES.get(str(parent[-1]), "another value")
    model = ParallelEntry if name == "parallel" else _models_along(tuple(parent))
    field = model.model_fields.get(name) if model else None
    return (field.description or "") if field else "another value"


def _spelled(location: Location) -> str:
    """The location as a path: stack.tcp_timeout, chain[2].name."""
    spelled = ""
    for part in location:
        if isinstance(part, int):
            spelled += f"[{part}]"
        else:
            spelled += f".{part}" if spelled else part
    return spelled
