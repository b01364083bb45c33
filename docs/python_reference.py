"""Writes the page of the Python API from signatures and docstrings."""

from __future__ import annotations

import ast
import enum
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import microbox
from microbox import testing
from microbox.api import columns, events, read, results, run
from microbox.testing import fragments, packets, tcp_options

SECTIONS: dict[str, tuple[tuple[str, Any], ...]] = {
    "Network functions": (
        ("microbox", microbox.NetworkFunction),
        ("microbox", microbox.on),
        ("microbox", microbox.on_batch),
        ("microbox", microbox.every),
        ("microbox", microbox.parameter),
        ("microbox", microbox.event),
        ("microbox", microbox.Event),
        ("microbox", microbox.Flow),
        ("microbox", microbox.Batch),
        ("microbox", microbox.Verdict),
        ("microbox", microbox.TcpState),
        ("microbox", microbox.ParameterError),
        ("microbox", microbox.community_id),
    ),
    "Reading captures": (
        ("microbox", read.read),
        ("microbox", events.events),
        ("microbox", columns.Columns),
        ("microbox", events.Events),
        ("microbox", microbox.RunError),
    ),
    "Running chains": (
        ("microbox", run.run),
        ("microbox", results.Results),
        ("microbox.api.results", results.Records),
    ),
    "Testing NFs": (
        ("microbox.testing", testing.run_nf),
        ("microbox.testing", testing.Result),
        ("microbox.testing", testing.Published),
        ("microbox.testing", testing.sample_capture),
    ),
    "Traffic for tests": (
        ("microbox.testing", testing.tcp),
        ("microbox.testing", testing.TcpFlow),
        ("microbox.testing", testing.udp),
        ("microbox.testing", testing.UdpFlow),
        ("microbox.testing", testing.icmp),
        ("microbox.testing", testing.IcmpFlow),
        ("microbox.testing", testing.Flow),
        ("microbox.testing", testing.Traffic),
        ("microbox.testing", testing.merged),
        ("microbox.testing", testing.interleaved),
    ),
}
LINE_MAX = 88
LAYERS = (packets, tcp_options, fragments)
"""Modules of which all is public; classes and functions in a table."""


def python() -> Iterator[str]:
    """The page."""
    yield from ("# Python API", "")
    yield "What [network functions](../guide/writing-an-nf.md) are written with, what reads"
    yield "captures in [scripts and notebooks](../guide/python.md), and what"
    yield from ("[tests](../guide/testing.md) are made of.", "")
    for title, members in SECTIONS.items():
        yield from (f"## {title}", "")
        for module, one in members:
            yield from _member(module, one)
    yield from ("## Layers of packets", "")
    for module in LAYERS:
        yield from _module(module)


def _member(module: str, one: Any) -> Iterator[str]:
    yield from (f"### {module}.{one.__name__}", "")
    if inspect.isclass(one):
        yield from (*_text(one), "")
        yield from _class(one)
        return
    yield from ("```python", *_declaration(f"{module}.{one.__name__}", one), "```", "")
    yield from (*_text(one), "")


def _class(one: type) -> Iterator[str]:
    """Its members: of an enumeration the names, else what is documented."""
    if issubclass(one, enum.Enum):
        yield from (", ".join(f"`{member.name}`" for member in one), "")
        return
    for name, doc in _attributes(one):
        yield from _definition(name, doc.splitlines())
    for name, member in vars(one).items():
        if name[0] != "_" and (callable(member) or isinstance(member, _PROPERTIES)):
            yield from _method(name, member)


def _attributes(one: type) -> Iterator[tuple[str, str]]:
    """Those of the class that a text stands below."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
    assert isinstance(tree, ast.ClassDef)
    for statement, below in itertools.pairwise(tree.body):
        is_named = isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if is_named and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield statement.target.id, inspect.cleandoc(str(below.value.value))


_FIELDS = type(vars(microbox.Event)["time"])  # attributes that C looks up
_PROPERTIES = (property, results.cached_property, classmethod, _FIELDS)


def _method(name: str, member: Any) -> Iterator[str]:
    """As an entry of a list of definitions."""
    if isinstance(member, property | _FIELDS):
        head, described = name, member
    elif isinstance(member, results.cached_property):
        head, described = name, member.func
    else:
        described = getattr(member, "__func__", member)
        head = f"{name}{_signature(described)}"
    yield from _definition(head, _text(described))


def _definition(head: str, lines: list[str]) -> Iterator[str]:
    first, *others = lines
    yield from (f"`{head}`", f": {first}", *(f"  {line}".rstrip() for line in others), "")


class _Plain:
    """An annotation, shown as it is written."""

    def __init__(self, text: Any) -> None:
        self._text = str(text)

    def __repr__(self) -> str:
        return self._text


def _declaration(name: str, function: Any) -> Iterator[str]:
    """A parameter a line, where one line would be too long."""
    signature = _signature(function)
    if len(name) + len(str(signature)) <= LINE_MAX:
        yield f"{name}{signature}"
        return
    yield f"{name}("
    for written in _parameters_of(signature):
        yield f"    {written},"
    yield f") -> {signature.return_annotation}"


def _parameters_of(signature: inspect.Signature) -> Iterator[str]:
    """As in a definition, with the star behind which all have to be named."""
    star = "*"
    for one in signature.parameters.values():
        if one.kind is one.VAR_POSITIONAL:
            star = ""
        elif one.kind is one.KEYWORD_ONLY and star:
            yield star
            star = ""
        yield str(one)


def _signature(function: Any) -> inspect.Signature:
    """Without what a caller does not write."""
    signature = inspect.signature(function)
    named = [
        one.replace(annotation=_Plain(one.annotation))
        for one in signature.parameters.values()
        if one.name not in ("self", "cls")
    ]
    returned = _Plain(signature.return_annotation)
    return signature.replace(parameters=named, return_annotation=returned)


def _text(one: Any) -> list[str]:
    """The docstring as Markdown: its parameters become a list."""
    lines = (inspect.getdoc(one) or "").splitlines()
    if "Parameters" not in lines:
        return _fenced(lines)
    start = lines.index("Parameters")
    return [*_fenced(lines[:start]), "", *_parameters(lines[start + 2 :])]


def _parameters(lines: list[str]) -> Iterator[str]:
    """An entry of a list each: the name, then what is indented below it."""
    entries: list[list[str]] = []
    for line in lines:
        if line.startswith(" "):
            entries[-1].append(line.strip())
        elif line:
            entries.append([f"* `{line}`:"])
    return (" ".join(entry) for entry in entries)


def _fenced(lines: list[str]) -> list[str]:
    """Indented examples as code."""
    text = re.sub(r"::$", ":", "\n".join(lines), flags=re.M)
    example = re.compile(r"(?:^    .*\n?|^\n(?=    ))+", re.M)
    return example.sub(_fence, text).splitlines()


def _fence(match: re.Match[str]) -> str:
    code = inspect.cleandoc(match[0])
    return f"\n```python\n{code}\n```\n"


def _module(module: Any) -> Iterator[str]:
    yield from (f"### {module.__name__}", "", *_text(module), "")
    yield from ("| name | what it is |", "| --- | --- |")
    for name, one in vars(module).items():
        is_own = getattr(one, "__module__", "") == module.__name__
        if name[0] != "_" and is_own and (inspect.isclass(one) or inspect.isfunction(one)):
            sentence = " ".join((inspect.getdoc(one) or "").split("\n\n")[0].split())
            yield f"| `{name}` | {sentence.replace('|', chr(92) + '|')} |"
    yield ""
