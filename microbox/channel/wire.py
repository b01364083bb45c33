"""Messages as plain maps, and back.

A message travels as a map of its dataclass's fields and `kind`. What comes in must have exactly
the shape that the dataclass declares; an unknown kind or field is an error, since both ends are
always of one version.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

from microbox.channel.messages import Message


class WireError(ValueError):
    """What came is not a message."""


MESSAGE_TYPES: dict[str, type] = {
    message_type.kind: message_type for message_type in typing.get_args(Message)
}


def to_wire(message: Message) -> dict[str, Any]:
    """The message as a map of plain values, `kind` first."""
    return {"kind": message.kind, **dataclasses.asdict(message)}


def from_wire(wire: object) -> Message:
    """The message that the map is. Raises WireError; checks the shape, not each scalar's type."""
    message_type, fields = split_kind(wire)
    return cast(Message, _decode_dataclass(message_type, fields, message_type.__name__))


def split_kind(wire: object) -> tuple[type, dict[str, Any]]:
    """The dataclass that the map's `kind` names, and the rest of the map."""
    if not isinstance(wire, Mapping):
        raise WireError(f"a message is a map, not {type(wire).__name__}")
    fields = dict(wire)
    kind = fields.pop("kind", None)
    message_type = MESSAGE_TYPES.get(kind) if isinstance(kind, str) else None
    if message_type is None:
        raise WireError(f"unknown kind of message: {kind!r:.60}")
    return message_type, fields


@functools.cache
def _shape(dataclass_type: type) -> tuple[dict[str, Any], frozenset[str]]:
    """Annotations of all fields, and the names of those that must be given."""
    hints = typing.get_type_hints(dataclass_type)
    fields = dataclasses.fields(dataclass_type)
    required = frozenset(
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    return {field.name: hints[field.name] for field in fields}, required


def _decode_dataclass(dataclass_type: type, fields: object, where: str) -> object:
    if not isinstance(fields, Mapping):
        raise WireError(f"{where}: expected a map, not {type(fields).__name__}")
    annotations, required = _shape(dataclass_type)
    unknown = sorted(str(name) for name in fields if name not in annotations)
    if unknown:
        raise WireError(f"{where}: unknown field {unknown[0]!r:.60}")
    missing = sorted(required - fields.keys())
    if missing:
        raise WireError(f"{where}: field {missing[0]!r} is missing")
    return dataclass_type(
        **{
            name: _decode(annotations[name], value, f"{where}.{name}")
            for name, value in fields.items()
        }
    )


def _decode_list(annotation: Any, value: object, where: str) -> object:
    if not isinstance(value, list):
        raise WireError(f"{where}: expected a list, not {type(value).__name__}")
    (item,) = typing.get_args(annotation)
    return [_decode(item, element, f"{where}[{i}]") for i, element in enumerate(value)]


def _decode_dict(annotation: Any, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise WireError(f"{where}: expected a map, not {type(value).__name__}")
    _, item = typing.get_args(annotation)
    return {key: _decode(item, element, f"{where}.{key}") for key, element in value.items()}


_CONTAINERS: dict[Any, Callable[[Any, object, str], object]] = {
    list: _decode_list,
    dict: _decode_dict,
}


def _decode(annotation: Any, value: object, where: str) -> object:
    if dataclasses.is_dataclass(annotation):
        return _decode_dataclass(cast(type, annotation), value, where)
    if isinstance(annotation, types.GenericAlias):
        return _CONTAINERS[annotation.__origin__](annotation, value, where)
    return value
