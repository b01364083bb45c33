"""What an NF needs beyond events: files, the network. Read from its file before its code runs.

An NF says so in its class, in plain values::

    files = ["/etc/services", "./rules/*.txt"]   # may be read; relative ones count from this file
    writes = ["./state.json", "./out/"]          # may be read, written and made
    network = True                               # sockets of IPv4 and IPv6

It is confined before its code is loaded, so this is read from the text: what the class says must be
lists of texts and True or False as they stand. A parameter annotated as Path may be read by itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from microbox.channel.messages import Sandbox
from microbox.confine.domain import Needs
from microbox.nf.errors import DefinitionError
from microbox.nf.function import NetworkFunction

PATTERNS = ("files", "writes")


def needs_of(source: Path, parameters: Mapping[str, Any], base: str) -> Needs:
    """What the classes of an NF's file say, and the files that its parameters name. A file that is
    no Python needs nothing: whoever loads it says what is wrong with it."""
    try:
        module = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return Needs()
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    said = list(_said(classes))
    folder = source.absolute().parent
    return Needs(
        files=(
            *_absolute(_patterns(said, "files"), folder),
            *_absolute(_paths(said, parameters), Path(base)),
        ),
        writes=tuple(_absolute(_patterns(said, "writes"), folder)),
        network=any(name == "network" and _literal(value) is True for name, _, value in said),
    )


def narrowed(needs: Needs, sandbox: Sandbox) -> Needs:
    """The needs, with what the chain says instead. Its paths are absolute."""
    if sandbox.files is not None:
        needs = replace(needs, files=tuple(sandbox.files))
    if sandbox.writes is not None:
        needs = replace(needs, writes=tuple(sandbox.writes))
    if sandbox.network is not None:
        needs = replace(needs, network=sandbox.network)
    return needs


def check_needs(owner: type[NetworkFunction]) -> None:
    """Raises DefinitionError where the class says it in another way than `needs_of` reads."""
    for name in PATTERNS:
        value = getattr(owner, name)
        if isinstance(value, str) or not all(isinstance(one, str) and one for one in value):
            raise DefinitionError(
                f'{owner.__name__}.{name} is a list of paths: write {name} = ["./rules.txt"]'
            )
    if owner.network not in (True, False):
        raise DefinitionError(f"{owner.__name__}.network is True or False, not {owner.network!r}")


def check_was_read(owner: type[NetworkFunction], source: Path) -> None:
    """Raises DefinitionError where the class needs what `needs_of` did not find in the file."""
    read = needs_of(source, {}, "")
    folder = source.absolute().parent
    for name in PATTERNS:
        for pattern in _absolute(getattr(owner, name), folder):
            if pattern not in getattr(read, name):
                raise _not_plain(owner, name)
    if owner.network and not read.network:
        raise _not_plain(owner, "network")


def _not_plain(owner: type, name: str) -> DefinitionError:
    value = getattr(owner, name)
    plain = list(value) if name in PATTERNS else value
    return DefinitionError(
        f"{owner.__name__}.{name} is read before the code runs: write it as it is into the class, "
        f"{name} = {plain!r}"
    )


def _said(classes: Iterable[ast.ClassDef]) -> Iterator[tuple[str, str, ast.expr | None]]:
    """Name, annotation and value of each attribute of the classes."""
    for node in (node for one in classes for node in one.body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, ast.unparse(node.annotation), node.value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, "", node.value


def _literal(value: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(value) if value is not None else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _patterns(said: Iterable[tuple[str, str, ast.expr | None]], wanted: str) -> Iterator[str]:
    for name, _, value in said:
        found = _literal(value) if name == wanted else None
        if isinstance(found, list | tuple):
            yield from (one for one in found if isinstance(one, str))


def _paths(
    said: Iterable[tuple[str, str, ast.expr | None]], parameters: Mapping[str, Any]
) -> Iterator[str]:
    """What the parameters that are annotated as a Path, or as a list of them, are set to; else what
    they are by default."""
    for name, annotation, value in said:
        if "Path" not in annotation or "ClassVar" in annotation:
            continue
        given = parameters.get(name)
        if given is None:
            yield from _default_paths(value)
        for one in given if isinstance(given, list) else [given]:
            if isinstance(one, str):
                yield one


def _default_paths(value: ast.expr | None) -> Iterator[str]:
    """The first text of each call and list: `Path("a")`, `parameter(Path("a"), "what it is")`. Such
    a path counts from where the process runs."""
    if isinstance(value, ast.Call) and value.args:
        yield from _default_paths(value.args[0])
    elif isinstance(value, ast.List | ast.Tuple):
        for one in value.elts:
            yield from _default_paths(one)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield str(Path(value.value).absolute())


def _absolute(patterns: Iterable[str], base: Path) -> Iterator[str]:
    """Joined to `base`; a "/" at the end says that it is a directory, and stays."""
    for one in patterns:
        yield f"{base / one}{'/' if one.endswith('/') else ''}"
