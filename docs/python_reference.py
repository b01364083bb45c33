"""Writes the page of the Python API from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import microbox
from microbox import testing
from microbox.api import columns, events, read, results, run
from microbox.testing import fragments, packets, tcp_options

SECTIONS: dict[str, tuple[tuple[str, Any], ...]] = {
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
    yield "For captures in scripts and notebooks, and for tests. What an NF is made of is described"
    yield from ("where [NFs are written](../guide/writing-an-nf.md).", "")
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
        for name, member in vars(one).items():
            if name[0] != "_" and (callable(member) or isinstance(member, _PROPERTIES)):
                yield from _method(name, member)
        return
    yield from ("```python", *_declaration(f"{module}.{one.__name__}", one), "```", "")
    yield from (*_text(one), "")


_PROPERTIES = (property, results.cached_property, classmethod)


def _method(name: str, member: Any) -> Iterator[str]:
    """As an entry of a list of definitions."""
    if isinstance(member, property):
        head, described = name, member.fget
    elif isinstance(member, results.cached_property):
        head, described = name, member.func
    else:
        described = getattr(member, "__func__", member)
        head = f"{name}{_signature(described)}"
    yield from (f"**`{head}`**", "", *_text(described), "")


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
    text = "\n".join(lines)
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
