"""From a Python file to the NF's class in it, and to an instance."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from microbox.nf.c_nf import load_c_class
from microbox.nf.decorators import handlers_of
from microbox.nf.errors import DefinitionError, LoadError
from microbox.nf.function import NetworkFunction
from microbox.nf.parameters import apply
from microbox.nf.shared_object import is_c

RUNTIME = str(Path(__file__).parent / "_").removesuffix("_")
"""The folder of the runtime, with a separator at its end."""


def load_class(path: Path, shared_object: int | None = None) -> type[NetworkFunction]:
    """The one NF that a file defines. Raises LoadError.

    The file runs as a module of its own; files beside it can be imported from it. Of a file in C
    `shared_object` may have been made already (shared_object.py).
    """
    if is_c(path):
        return load_c_class(path, shared_object)
    module = _run(path)
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, NetworkFunction)
        and value.__module__ == module.__name__
    ]
    bases = {base for one in found for base in one.__mro__[1:]}
    leaves = [one for one in dict.fromkeys(found) if one not in bases]
    if len(leaves) == 1:
        return _with_handlers(path, leaves[0])
    if leaves:
        names = ", ".join(one.__name__ for one in leaves)
        raise LoadError(
            f"{path} defines {len(leaves)} NFs: {names}", hint="put each into a file of its own"
        )
    raise LoadError(
        f"{path} defines no NF",
        hint="write a class that derives from microbox.NetworkFunction",
    )


def _with_handlers(path: Path, owner: type[NetworkFunction]) -> type[NetworkFunction]:
    if next(iter(handlers_of(owner)), None) is None:
        raise LoadError(
            f"{path}: {owner.__name__} handles nothing",
            hint='write @on("tcp.data"), @on_batch(...) or @every(...) above a method',
        )
    return owner


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise LoadError(f"{path} is not a file")
    name = f"microbox_nf_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is no Python file", hint="its name should end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except DefinitionError as error:
        raise LoadError(str(error), _frames_in(path, error)) from None
    except (Exception, SystemExit) as error:
        raise LoadError(
            f"{path.name}: {type(error).__name__}: {error}", own_frames(error)
        ) from None
    return module


def own_frames(error: BaseException) -> str:
    """The traceback without the frames of the runtime and of the import machinery in front."""
    frame = error.__traceback__
    while frame is not None and _is_ours(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))


def frames_to_runtime(error: BaseException) -> str:
    """The user's own frames alone, for an error whose sentence says itself what is wrong: how the
    runtime found it is of no use."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if not _is_ours(one.filename)]
    return "".join(traceback.format_list(own))


def _frames_in(path: Path, error: BaseException) -> str:
    """Where in the user's own file: an error of a definition says itself what is wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(traceback.format_list([one for one in frames if one.filename == str(path)]))


def _is_ours(file: str) -> bool:
    return file.startswith((RUNTIME, "<frozen"))


def make_instance(
    owner: type[NetworkFunction], name: str, parameters: Mapping[str, Any], base: str = ""
) -> NetworkFunction:
    """An instance with its parameters set (paths count from `base`) before its own __init__ runs.

    Raises DeclarationError.
    """
    instance = owner.__new__(owner)
    instance.name = name
    apply(instance, parameters, base)
    instance.__init__()  # type: ignore[misc] # not called by __new__
    return instance
