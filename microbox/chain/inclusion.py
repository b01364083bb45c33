"""`include:` of a chain file: other files whose settings it takes in.

Those come first, in their order, then what the file itself says: NFs are added behind those that
are there, mappings are joined key by key, and any other value takes the place of the one before.
Each value keeps the place where it stands, for errors and for the paths that count from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from microbox.chain.document import Document, Location
from microbox.chain.errors import ChainErrors, Position, describe_value
from microbox.chain.named_files import near_file

KEY = "include"
DEPTH_MAX = 8
_CHAIN = "chain"

Read = Callable[[str, str], Document]
"""The document of a text, that stands in this file. Raises ChainErrors."""


def include(document: Document, read: Read) -> None:
    """Takes in what the document includes; its errors say what is wrong with that."""
    _include(document, read, (Path(document.file).resolve(),))


def _include(document: Document, read: Read, above: tuple[Path, ...]) -> None:
    if not isinstance(document.value, dict) or KEY not in document.value:
        return
    own = replace(document)
    written = own.value.pop(KEY)
    document.value, document.values_at, document.keys_at, document.spans = {}, {}, {}, {}
    for location, name in _names(own, document, written):
        position = own.value_position(location)
        included = _read(own.path(location, name), position, document, read, above)
        if included is not None:
            document.errors += included.errors
            _merge((), included.value, document, included)
    document.values_at.setdefault((), own.value_position(()))
    _merge((), own.value, document, own)


def _names(own: Document, document: Document, written: Any) -> list[tuple[Location, str]]:
    """What is included, and where each name stands."""
    names = written if isinstance(written, list) else [written]
    if all(isinstance(name, str) and name for name in names):
        if isinstance(written, list):
            return [((KEY, index), name) for index, name in enumerate(names)]
        return [((KEY,), written)]
    message = f"{KEY} is {describe_value(written)}; expected the path of a chain file, or a list"
    document.complain(own.value_position((KEY,)), message)
    return []


class _Unusable(Exception):
    """A file that cannot be included: message and hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def _read(
    path: Path, position: Position, document: Document, read: Read, above: tuple[Path, ...]
) -> Document | None:
    try:
        included = read(_text(path, above), str(path))
    except _Unusable as error:
        document.complain(position, str(error), error.hint)
        return None
    except ChainErrors as errors:
        document.errors += errors.errors
        return None
    if not isinstance(included.value, dict):
        came = describe_value(included.value)
        document.complain(Position(1, 1, str(path)), f"the file holds {came}; expected keys")
        return None
    _include(included, read, (*above, path.resolve()))
    return included


def _text(path: Path, above: tuple[Path, ...]) -> str:
    """Of a file that is included by way of those above it."""
    if path.resolve() in above:
        raise _Unusable(f"'{path}' includes itself")
    if len(above) > DEPTH_MAX:
        raise _Unusable(f"files are included more than {DEPTH_MAX} deep")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        message = f"'{path}' does not exist; expected a chain file"
        raise _Unusable(message, near_file(path)) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _Unusable(f"'{path}' cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise _Unusable(f"'{path}' is not UTF-8; expected a chain file (YAML text)") from None


def _merge(location: Location, value: dict[str, Any], document: Document, other: Document) -> None:
    """Puts the values of a mapping of `other` to those of `document` at the same place."""
    mapping = _at(document.value, location)
    for key, one in value.items():
        here = (*location, key)
        there = mapping.get(key)
        if isinstance(one, dict) and isinstance(there, dict):
            _merge(here, one, document, other)
            continue
        if here == (_CHAIN,) and isinstance(one, list) and isinstance(there, list):
            for index, entry in enumerate(one):
                _place((*here, len(there)), (*here, index), document, other)
                there.append(entry)
            continue
        mapping[key] = one
        _forget(here, document)
        _place(here, here, document, other)


def _at(value: Any, location: Location) -> Any:
    for key in location:
        value = value[key]
    return value


def _forget(location: Location, document: Document) -> None:
    """Of what stood there, in another file."""
    for places in (document.values_at, document.keys_at, document.spans):
        for one in [one for one in places if one[: len(location)] == location]:
            del places[one]


def _place(to: Location, of: Location, document: Document, other: Document) -> None:
    """Says that what is at `to` stands where `other` has what is at `of`."""
    depth = len(of)
    for positions, others in (
        (document.values_at, other.values_at),
        (document.keys_at, other.keys_at),
    ):
        for one, position in others.items():
            if one[:depth] == of:
                positions[(*to, *one[depth:])] = _in_file(position, document, other)
    if document.file == other.file:  # its characters can be pointed at
        for one, span in other.spans.items():
            if one[:depth] == of:
                document.spans[(*to, *one[depth:])] = span


def _in_file(position: Position, document: Document, other: Document) -> Position:
    if position.file or other.file == document.file:
        return position
    return Position(position.line, position.column, other.file)
