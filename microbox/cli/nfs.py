"""`microbox nfs`: the NFs that come with microbox, or one of them in full."""

from __future__ import annotations

import json as json_module
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console

    from microbox.chain.model import ChainNF
    from microbox.channel.messages import HandlerDeclaration, Manifest, ParameterDeclaration


def nfs(name: str = "", /, *, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Show the built-in NFs, or one NF with its parameters and events.

    Parameters
    ----------
    name
        A built-in NF, or the path of a file in Python or C.
    json
        Print one JSON document.
    """
    from microbox.chain.describe import NotDescribed, describe_all
    from microbox.chain.errors import ChainError
    from microbox.cli.complaints import complain
    from microbox.cli.main import FINE, WRONG
    from microbox.cli.terminal import console, print_json
    from microbox.runtime.processes.validation import from_child

    wanted = wanted_nfs(name)
    answers = partial(describe_all, decode=from_child)(wanted)
    described: dict[str, Manifest] = {}
    errors = []
    for nf, answer in zip(wanted, answers, strict=True):
        if isinstance(answer, NotDescribed):
            message = f"'{nf.name}' cannot be loaded: {answer.error}"
            errors.append(
                ChainError(str(nf.source), answer.line, 1, message, answer.hint, answer.traceback)
            )
        else:
            described[nf.name] = answer
    if json:
        print_json([as_json(one, manifest) for one, manifest in described.items()])
    elif name:
        for one, manifest in described.items():
            _print_nf(console(), one, manifest)
    else:
        _print_list(console(), described)
    complain(errors)
    return WRONG if errors else FINE


def wanted_nfs(name: str) -> list[ChainNF]:
    """Which NFs to describe. Raises ChainErrors where there is none of that name."""
    from microbox.chain.errors import ChainError, ChainErrors, did_you_mean
    from microbox.chain.model import ChainNF
    from microbox.chain.sources import built_in_names, built_in_source, is_path

    names = [name] if name else built_in_names()
    if name and is_path(name):
        path = Path(name)
        if not path.is_file():
            raise ChainErrors([ChainError(name, 0, 0, "no such file; expected an NF's file")])
        return [ChainNF(path.stem, path)]
    nfs = []
    for one in names:
        source = built_in_source(one)
        if source is None:
            message = f"no built-in NF is called '{one}'; expected a name that `microbox nfs` lists"
            raise ChainErrors(
                [ChainError("nfs", 0, 0, message, did_you_mean(one, built_in_names()))]
            )
        nfs.append(ChainNF(one, source))
    return nfs


def as_json(name: str, manifest: Manifest) -> dict[str, Any]:
    """Stable keys (docs/guide/cli.md)."""
    return {
        "name": name,
        "class": manifest.class_name,
        "file": manifest.file,
        "doc": manifest.doc,
        "inline": manifest.is_inline,
        "edits": manifest.edits,
        "per_flow": manifest.per_flow,
        "parameters": [
            {
                "name": one.name,
                "type": one.annotation,
                "required": one.required,
                "default": one.default,
                "doc": one.doc,
            }
            for one in manifest.parameters
        ],
        "subscriptions": [
            {
                "handler": one.handler,
                "types": one.types,
                "filter": one.filter,
                "batch": one.batch,
            }
            for one in _own_handlers(manifest)
        ],
        "timers": [one.period for one in manifest.timers],
        "publishes": manifest.publishes,
        "declares": {one.name: one.fields for one in manifest.declares},
    }


def _own_handlers(manifest: Manifest) -> list[HandlerDeclaration]:
    """Those that its file defines, without the runtime's."""
    return [one for one in manifest.handlers if one.handler.isidentifier()]


def _summary(manifest: Manifest) -> str:
    """The first paragraph of its doc."""
    return " ".join(manifest.doc.partition("\n\n")[0].split())


def _print_list(out: Console, described: dict[str, Manifest]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for name, manifest in described.items():
        line = Text(_summary(manifest))
        parameters = ", ".join(
            f"{one.name}{'' if one.required else '=' + _value(one.default)}"
            for one in manifest.parameters
        )
        if parameters:
            line.append(f"  {parameters}", style="yellow")
        table.add_row(Text(name, style="bold cyan"), line)
    out.print(table)


def _value(default: Any) -> str:
    return json_module.dumps(default, ensure_ascii=False)


def _print_nf(out: Console, name: str, manifest: Manifest) -> None:
    from rich.text import Text

    out.print(Text(name, style="bold cyan"), Text(f"({manifest.file})", style="dim"))
    out.print(Text(manifest.doc))
    if manifest.parameters:
        out.print(Text("\nParameters", style="bold"))
        for one in manifest.parameters:
            _print_parameter(out, one)
    out.print(Text("\nSubscriptions", style="bold"))
    for handler in _own_handlers(manifest):
        line = f"  {', '.join(handler.types)}"
        line += f"  where {handler.filter}" if handler.filter else ""
        line += "  in batches" if handler.batch else ""
        out.print(Text(line), Text(f"→ {handler.handler}", style="dim"))
    if manifest.timers:
        from microbox.chain.units import format_duration

        out.print(Text("\nTimers", style="bold"))
        for timer in manifest.timers:
            out.print(Text(f"  every {format_duration(timer.period)} → {timer.handler}"))
    if manifest.publishes:
        out.print(Text("\nPublishes", style="bold"))
        out.print(Text(f"  {', '.join(manifest.publishes)}"))
    if manifest.is_inline:
        out.print(Text("\nInline: it may drop packets."))
    if manifest.edits:
        out.print(Text(f"Edits {manifest.edits} of packets."))
    if not manifest.per_flow:
        out.print(Text("Knows all flows together: it has one instance."))


def _print_parameter(out: Console, one: ParameterDeclaration) -> None:
    from rich.text import Text

    value = "must be given" if one.required else f"default {_value(one.default)}"
    line = Text(f"  {one.name}", style="yellow")
    line.append(f": {one.annotation}, {value}", style="default")
    if one.doc:
        line.append(f"  {one.doc}", style="default")
    out.print(line)
