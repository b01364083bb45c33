"""An NF in C, shown as a class: parameters, handlers, declarations, all checked as those of a class
in Python are. Its handlers have no bodies here: `c_runner` has C call them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from microbox._core import ffi, lib
from microbox.nf.decorators import every, on
from microbox.nf.errors import DefinitionError, LoadError
from microbox.nf.function import NetworkFunction
from microbox.nf.parameters import parameter
from microbox.nf.shared_object import shared_object_of

NANOSECONDS = 1_000_000_000
DESCRIPTOR = "_c_descriptor"
ANNOTATIONS = {
    lib.MB_PARAMETER_INT: "int",
    lib.MB_PARAMETER_FLOAT: "float",
    lib.MB_PARAMETER_TEXT: "str",
    lib.MB_PARAMETER_BOOL: "bool",
}
EDITS = {
    lib.MB_NF_EDITS_NOTHING: "",
    lib.MB_NF_EDITS_HEADERS: "headers",
    lib.MB_NF_EDITS_PAYLOAD: "payload",
}
FLAGS = {"true": True, "false": False}


def descriptor_of(owner: type[NetworkFunction]) -> Any:
    """The NF's struct mb_nf_descriptor; None for a class in Python."""
    return getattr(owner, DESCRIPTOR, None)


def load_c_class(source: Path, shared_object: int | None = None) -> type[NetworkFunction]:
    """The NF of a C file. `shared_object`: what shared_object_of made of it; it is kept. Runs the
    user's code. Raises LoadError."""
    if shared_object is None:
        shared_object = shared_object_of(source)
    # It stays open: what is loaded goes by this name, which must never be another one's.
    path = f"/proc/self/fd/{shared_object}"
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    descriptor = lib.mb_c_nf_open(path.encode(), error)
    if descriptor == ffi.NULL:
        reason = text_of(error).replace(path, source.name)
        raise LoadError(f"{source.name} is no NF: {reason}")
    try:
        return _Shown(source, descriptor).as_class()
    except DefinitionError as wrong:
        raise LoadError(str(wrong)) from None


def text_of(characters: Any) -> str:
    """A C string; "" for NULL."""
    text: bytes = ffi.string(characters) if characters else b""
    return text.decode(errors="replace")


def named(array: Any) -> Iterator[Any]:
    """The elements of a descriptor's array, up to the first without a name."""
    for one in array:
        if not one.name:
            return
        yield one


def texts(array: Any) -> list[str]:
    """A descriptor's array of names, up to the first that is NULL."""
    found = []
    for one in array:
        if not one:
            break
        found.append(text_of(one))
    return found


class _Shown:
    """A descriptor on its way to a class."""

    def __init__(self, source: Path, descriptor: Any) -> None:
        self._source = source
        self._descriptor = descriptor
        self._name = text_of(descriptor.name)

    def as_class(self) -> type[NetworkFunction]:
        descriptor = self._descriptor
        module = ModuleType(f"microbox_nf_{self._source.stem}")
        module.__file__ = str(self._source)
        sys.modules[module.__name__] = module
        contents = {
            "__module__": module.__name__,
            "__doc__": text_of(descriptor.doc),
            "__annotations__": {},
            DESCRIPTOR: descriptor,
            "inline": bool(descriptor.is_inline or descriptor.edits),
            "edits": EDITS.get(descriptor.edits),
            "commands": bool(descriptor.leaves_flows),
            "publishes": texts(descriptor.publishes),
            "declares": {
                text_of(one.name): {
                    text_of(each.name): text_of(each.type) for each in named(one.fields)
                }
                for one in named(descriptor.declares)
            },
        }
        for one in named(descriptor.parameters):
            self._add_parameter(contents, one)
        for one in named(descriptor.handlers):
            contents[self._free_name(contents, one)] = self._handler(one, module.__name__)
        return type(self._name, (NetworkFunction,), contents)

    def _free_name(self, contents: dict[str, Any], one: Any) -> str:
        name = text_of(one.name)
        if name in contents or hasattr(NetworkFunction, name):
            raise DefinitionError(
                f"{self._name}: the name '{name}' is taken; call the handler or parameter otherwise"
            )
        return name

    def _add_parameter(self, contents: dict[str, Any], one: Any) -> None:
        name = self._free_name(contents, one)
        annotation = ANNOTATIONS[one.type]
        contents["__annotations__"][name] = annotation
        if one.or_else:
            value = self._value(name, annotation, text_of(one.or_else))
            contents[name] = parameter(value, text_of(one.doc))

    def _value(self, name: str, annotation: str, written: str) -> Any:
        """A default as the descriptor has it."""
        readers: dict[str, Callable[[str], Any]] = {
            "int": lambda text: int(text, 0),
            "float": float,
            "str": str,
            "bool": FLAGS.__getitem__,
        }
        try:
            return readers[annotation](written)
        except (ValueError, KeyError):
            raise DefinitionError(
                f"{self._name}.{name}: the default is wrong: expected {annotation}, "
                f"got '{written:.60}'"
            ) from None

    def _handler(self, one: Any, module: str) -> Callable[..., Any]:
        """A method without a body that says where in the C file it is."""

        def handler(_self: Any, _event: Any) -> None: ...

        def handler_with_state(_self: Any, event: Any) -> Any:
            return event.flow.state

        keeps_states = self._descriptor.flow_state_size > 0
        method: Any = handler_with_state if keeps_states else handler
        name = text_of(one.name)
        method.__code__ = method.__code__.replace(
            co_filename=str(self._source), co_name=name, co_firstlineno=self._line_of(name)
        )
        method.__module__ = module
        mark = (
            every(one.every / NANOSECONDS)
            if one.every
            else on(*texts(one.types), filter=text_of(one.filter))
        )
        marked: Callable[..., Any] = mark(method)
        return marked

    def _line_of(self, handler: str) -> int:
        """Where the C file names the handler; 1 where that is not to be seen."""
        if self._source.suffix != ".c":
            return 1
        lines = self._source.read_text(errors="replace").splitlines()
        return next((i for i, line in enumerate(lines, 1) if f'"{handler}"' in line), 1)
