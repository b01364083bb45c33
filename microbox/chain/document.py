"""A YAML file as plain values, with the position of each key and value.

The composed node graph is walked here instead of being constructed by the library, since only
nodes know where they stand, and all duplicate keys are to be found, not just the first.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from microbox.chain.errors import ChainError, ChainErrors, Position

Location = tuple[str | int, ...]
"""Where a value is in the document: ("chain", 2, "rules")."""

NODES_MAX = 100_000  # an alias repeats what it names: nested ones would multiply without end
DEPTH_MAX = 100
_TOO_MUCH = f"more than {NODES_MAX:,} values, or nested more than {DEPTH_MAX} deep"
_TAG = "tag:yaml.org,2002:"
_CONSTRUCTED = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "str"))
_KEPT_AS_TEXT = frozenset({_TAG + "timestamp"})
_INTEGER_LIMIT = 1 << 63


_SYNTAX_HINTS = {  # part of the parser's words → what is most often the cause
    "could not find expected ':'": "is the ':' after a key missing above?",
    "mapping values are not allowed here": "is the ':' after a key missing above?",
    "'\\t'": "indent with spaces",
    "but got '{'": 'within {...} and [...], ${NAME} has to be in quotes: "${NAME}"',
}


@dataclass
class Document:
    """The file's value, and where its parts are. `errors`: what is wrong apart from syntax."""

    file: str
    value: Any = None
    values_at: dict[Location, Position] = field(default_factory=dict)
    keys_at: dict[Location, Position] = field(default_factory=dict)
    errors: list[ChainError] = field(default_factory=list)
    text: str = ""
    spans: dict[Location, tuple[int, int]] = field(default_factory=dict)  # of scalars, in `text`

    def value_position(self, location: Location) -> Position:
        """Where the value begins, or the nearest thing around it that is in the file."""
        return self._nearest(self.values_at, location)

    def key_position(self, location: Location) -> Position:
        """Where the key begins, or as `value_position` where it has none."""
        return self.keys_at.get(location) or self.value_position(location)

    def _nearest(self, positions: dict[Location, Position], location: Location) -> Position:
        while location and location not in positions:
            location = location[:-1]
        return positions.get(location, Position(1, 1))

    def character_positions(self, location: Location, value: str) -> tuple[Position, ...]:
        """Where each character of a scalar's value stands, and where it ends.

        YAML folds white space, so that is passed over on both sides. Of an escape it is the end.
        """
        while location and location not in self.values_at:
            location = location[:-1]
        if location not in self.spans:
            return (self.value_position(location),) * (len(value) + 1)
        begin, end = self.spans[location]
        raw = self.text[begin:end]
        header = raw.find("\n") + 1 if raw[:1] in ("|", ">") else 0
        places = []
        place = header
        for character in value:
            found = -1 if character.isspace() else raw.find(character, place)
            places.append(begin + (place if found < 0 else found))
            place = place + 1 if found < 0 else found + 1
            if found < 0 and place > len(raw):
                place = len(raw)
        return tuple(self._position_at(one) for one in [*places, begin + place])

    def _position_at(self, index: int) -> Position:
        line_begin = self.text.rfind("\n", 0, index) + 1
        return Position(self.text.count("\n", 0, index) + 1, index - line_begin + 1)

    def complain(self, position: Position, message: str, hint: str = "") -> None:
        """Adds an error."""
        self.errors.append(ChainError.at(self.file, position, message, hint))

    def place(self, location: Location, position: Position) -> None:
        """Says that the key and the value at `location`, with all in it, come from elsewhere."""
        depth = len(location)
        for places in (self.values_at, self.keys_at, self.spans):
            for one in [one for one in places if one[:depth] == location]:
                del places[one]
        self.values_at[location] = self.keys_at[location] = position

    def path(self, location: Location, written: str) -> Path:
        """The file that a text at `location` names: it counts from the directory of the file that
        the text stands in."""
        position = self.value_position(location)
        file = position.file if position.line else ""
        return Path(os.path.normpath(Path(file or self.file).parent / written))

    def pattern(self, location: Location, written: str) -> str:
        """As `path`, absolute. A "/" at the end says that it is a directory, and stays."""
        return f"{self.path(location, written).absolute()}{'/' if written.endswith('/') else ''}"


def read_document(text: str, file: str) -> Document:
    """Parses one YAML document. Raises ChainErrors where its syntax is broken."""
    yaml = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML allows it
            node = yaml.compose(text)
    except MarkedYAMLError as error:
        raise ChainErrors([_syntax_error(error, file)]) from None
    except YAMLError as error:
        raise ChainErrors([ChainError(file, 1, 1, _sentence(str(error)))]) from None
    except RecursionError:
        raise ChainErrors([ChainError(file, 1, 1, _TOO_MUCH)]) from None
    document = Document(file, text=text)
    if node is None:
        document.values_at[()] = Position(1, 1)
        return document
    document.value = _Reader(yaml, document).read(node, (), 0)
    return document


def value_of(text: str) -> Any:
    """One value, as a file would have it. Raises ChainErrors."""
    document = read_document(text, "")
    if document.errors:
        raise ChainErrors(document.errors)
    return document.value


def _syntax_error(error: MarkedYAMLError, file: str) -> ChainError:
    mark = error.problem_mark or error.context_mark
    problem = _sentence(error.problem or "this is not YAML")
    context = _sentence(error.context or "")
    position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
    message = f"{context}: {problem}" if context else problem
    hint = next((hint for part, hint in _SYNTAX_HINTS.items() if part in problem), "")
    return ChainError.at(file, position, message, hint)


def _sentence(text: str) -> str:
    return " ".join(text.split())


class _Reader:
    def __init__(self, yaml: YAML, document: Document) -> None:
        self._constructor = yaml.constructor
        self._document = document
        self._nodes = 0

    def read(self, node: Node, location: Location, depth: int) -> Any:
        position = _position(node)
        self._document.values_at[location] = position
        self._nodes += 1
        if self._nodes > NODES_MAX or depth > DEPTH_MAX:
            raise ChainErrors([ChainError.at(self._document.file, position, _TOO_MUCH)])
        if isinstance(node, MappingNode):
            return self._mapping(node, location, depth)
        if isinstance(node, SequenceNode):
            return [
                self.read(item, (*location, index), depth + 1)
                for index, item in enumerate(node.value)
            ]
        if not isinstance(node, ScalarNode):
            return None
        self._document.spans[location] = (node.start_mark.index, node.end_mark.index)
        return self._scalar(node)

    def _mapping(self, node: MappingNode, location: Location, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if key is None or not isinstance(key, str):
                self._document.complain(
                    _position(key_node), "this key is no name; expected a name, then ':'"
                )
                continue
            here = (*location, key)
            if key in mapping:
                first = self._document.keys_at[here]
                self._document.complain(
                    _position(key_node),
                    f"key '{key}' stands here a second time; the first is in line {first.line}",
                )
                continue
            self._document.keys_at[here] = _position(key_node)
            mapping[key] = self.read(value_node, here, depth + 1)
        return mapping

    def _scalar(self, node: ScalarNode) -> Any:
        tag = str(node.tag)
        if tag in _KEPT_AS_TEXT:
            return str(node.value)
        if tag not in _CONSTRUCTED:
            shown = tag.replace(_TAG, "!!")
            self._document.complain(
                _position(node), f"tag '{shown}' is not known; expected a plain value"
            )
            return str(node.value)
        try:
            value = self._constructor.construct_object(node)
        except (ValueError, LookupError, YAMLError):
            self._document.complain(_position(node), f"'{node.value:.40}' is no value")
            return None
        if isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
            self._document.complain(
                _position(node), f"{value} is too large; expected at most 64 bits"
            )
            return 0
        return value


def _position(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
