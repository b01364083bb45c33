"""Parameters: annotated class attributes that a chain's file may set.

    class ScanDetector(NetworkFunction):
        threshold: int = parameter(20, "ports that one source may try")
        interval: float = 10.0
        rules: Path                      # without a default: the chain must set it

Types: int, float, str, bool, Path, list of one of these, and `| None`. A value must be of the
type as written; only an int is taken for a float, and a str for a Path. `check` needs nothing
but the declarations, so it works where the user's code is not loaded.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from microbox.channel.messages import ParameterDeclaration
from microbox.nf.errors import DeclarationError, DefinitionError

Value = TypeVar("Value")

ACCEPTED: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "Path": (str, Path),
}
CONVERTERS: dict[str, Any] = {"float": float, "Path": Path}
LIST = re.compile(r"list\[\s*(.+?)\s*\]")


@dataclass(frozen=True, slots=True)
class Described:
    """A default and what the parameter is."""

    default: Any
    doc: str


class _Required:
    """In place of a default: there is none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


@overload
def parameter(default: Value, doc: str) -> Value: ...


@overload
def parameter(*, doc: str) -> Any: ...


def parameter(default: Any = REQUIRED, doc: str = "") -> Any:
    """A parameter's default with a sentence about it, shown by `microbox nfs`. Without a default
    the chain has to set it."""
    return Described(default, doc)


@dataclass(frozen=True, slots=True)
class Wrong:
    """One parameter that is wrong: the sentence, and the nearest right name or ""."""

    name: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


def declared_by(owner: type) -> list[ParameterDeclaration]:
    """The parameters of an NF's class, its bases' first. Raises DefinitionError."""
    annotations: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        if base.__dict__.get("__microbox_base__"):
            continue
        for name, annotation in inspect.get_annotations(base).items():
            if not name.startswith("_") and "ClassVar" not in str(annotation):
                annotations[name] = _written(annotation)
    return [_declaration(owner, name, written) for name, written in annotations.items()]


def _written(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else _spelled(annotation)
    return re.sub(r"\b(?:pathlib|typing|builtins)\.", "", text).strip()


def _spelled(annotation: Any) -> str:
    return annotation.__name__ if type(annotation) is type else str(annotation)


def _declaration(owner: type, name: str, annotation: str) -> ParameterDeclaration:
    here = f"{owner.__name__}.{name}"
    if not _is_known(annotation):
        raise DefinitionError(
            f"{here}: a parameter cannot be of type '{annotation}': expected int, float, str, "
            "bool, Path, list[...] of one of these, or one of these and None. An attribute that "
            "is no parameter begins with '_' or is a ClassVar"
        )
    given = getattr(owner, name, REQUIRED)
    doc = given.doc if isinstance(given, Described) else ""
    default = given.default if isinstance(given, Described) else given
    required = default is REQUIRED
    try:
        value = None if required else coerce(annotation, default)
    except ValueError as error:
        raise DefinitionError(f"{here}: the default is wrong: {error}") from None
    return ParameterDeclaration(name, annotation, _plain(value), required, doc)


def _plain(value: Any) -> Any:
    """As a message can carry it: paths as text."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _alternatives(annotation: str) -> list[str]:
    return [one.strip() for one in annotation.split("|")]


def _is_known(annotation: str) -> bool:
    def is_known(one: str) -> bool:
        item = LIST.fullmatch(one)
        return (item[1] if item else one) in ACCEPTED or one == "None"

    return all(is_known(one) for one in _alternatives(annotation))


def coerce(annotation: str, value: Any) -> Any:
    """`value` as a parameter annotated so. Raises ValueError: what was expected, what came."""
    for one in _alternatives(annotation):
        if one == "None" and value is None:
            return None
        item = LIST.fullmatch(one)
        if item and isinstance(value, list | tuple):
            return [coerce(item[1], element) for element in value]
        if _fits(one, value):
            return CONVERTERS.get(one, lambda same: same)(value)
    raise ValueError(f"expected {annotation}, got {value!r:.60} ({type(value).__name__})")


def _fits(kind: str, value: Any) -> bool:
    """bool is an int in Python, but nobody who writes `true` means 1."""
    accepted = ACCEPTED.get(kind, ())
    return isinstance(value, accepted) and isinstance(value, bool) == (kind == "bool")


def check(declarations: Iterable[ParameterDeclaration], values: Mapping[str, Any]) -> list[Wrong]:
    """All that is wrong with these values: unknown names, wrong types, missing ones."""
    known = {one.name: one for one in declarations}
    wrong = [_unknown(name, known) for name in values if name not in known]
    for one in known.values():
        if one.name not in values:
            if one.required:
                wrong.append(
                    Wrong(one.name, f"parameter '{one.name}' ({one.annotation}) is missing")
                )
            continue
        try:
            coerce(one.annotation, values[one.name])
        except ValueError as error:
            wrong.append(Wrong(one.name, f"parameter '{one.name}': {error}"))
    return wrong


def _unknown(name: str, known: Mapping[str, ParameterDeclaration]) -> Wrong:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return Wrong(name, f"unknown parameter '{name}'", f"did you mean '{near[0]}'?")
    if not known:
        return Wrong(name, f"unknown parameter '{name}'", "this NF has no parameters")
    return Wrong(name, f"unknown parameter '{name}'", f"it has {', '.join(known)}")


def apply(instance: object, values: Mapping[str, Any], base: str = "") -> None:
    """Sets all parameters of an NF's instance; relative paths that were given count from `base`.

    Raises DeclarationError with all that is wrong.
    """
    declarations = declared_by(type(instance))
    wrong = check(declarations, values)
    if wrong:
        raise DeclarationError("; ".join(map(str, wrong)))
    for one in declarations:
        value = coerce(one.annotation, values.get(one.name, one.default))
        setattr(instance, one.name, from_base(base, value) if one.name in values else value)


def from_base(base: str, value: Any) -> Any:
    """Paths, alone or in a list, joined to `base`; anything else as it is."""
    if isinstance(value, list):
        return [from_base(base, one) for one in value]
    return Path(base, value) if isinstance(value, Path) else value
