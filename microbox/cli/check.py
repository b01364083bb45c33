"""`microbox check`: validates a chain and shows the plan that follows from it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from microbox.cli.overriding import AS_WRITTEN, Overriding

TRANSPORTS = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP", "other": "other protocols"}

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from microbox.chain.memory import MemoryPart
    from microbox.chain.plan import Plan, PlannedNF
    from microbox.channel.messages import HandlerDeclaration


def check(
    chain: Path,
    /,
    *,
    overriding: Overriding = AS_WRITTEN,
    dump: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Check a chain and show its plan; nothing runs but the NFs' own start-up.

    All errors of the file and of its NFs are shown at once, each as file:line:column, what came,
    what was expected.

    Parameters
    ----------
    chain
        The chain file (YAML).
    dump
        Print the settings in effect, as a chain file that says all of them, in place of the plan.
    json
        Print the plan, or the settings, or the errors, as one JSON document.
    """
    from microbox.chain.describe import describe_all
    from microbox.chain.errors import ChainErrors
    from microbox.chain.prepare import prepare
    from microbox.cli.complaints import as_json
    from microbox.cli.main import FINE, WRONG
    from microbox.cli.plan_json import plan_as_json
    from microbox.cli.terminal import print_json
    from microbox.runtime.processes.validation import from_child

    describe = partial(describe_all, decode=from_child)
    try:
        plan = prepare(chain, describe, overriding.overrides())
        _check_capture(plan)
    except ChainErrors as errors:
        if not json:
            raise
        print_json({"chain": str(chain), "errors": [as_json(error) for error in errors.errors]})
        return WRONG
    if dump:
        _dump(plan, as_json=json)
    elif json:
        print_json(plan_as_json(plan))
    else:
        _print_plan(plan)
    return FINE


def _dump(plan: Plan, *, as_json: bool) -> None:
    from microbox.chain.effective import as_yaml, dumped
    from microbox.cli.terminal import print_json

    if as_json:
        print_json(dumped(plan))
    else:
        print(as_yaml(dumped(plan)), end="")


def _check_capture(plan: Plan) -> None:
    """Raises ChainErrors where the input is no capture."""
    import os

    from microbox.chain.errors import ChainError, ChainErrors
    from microbox.runtime.errors import InputError
    from microbox.runtime.inputs.several_captures import open_input

    try:
        os.close(open_input(plan.chain.input, plan.chain.input_bytes_max).fd)
    except InputError as error:
        position = plan.chain.input_position
        raise ChainErrors([ChainError.at(plan.chain.file, position, str(error))]) from None


def _print_plan(plan: Plan) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from microbox.cli.drawing import draw
    from microbox.cli.terminal import console

    out = console()
    out.print(_headline(plan), soft_wrap=True)
    sections: list[tuple[str, RenderableType | None]] = [
        ("Plan", draw(plan, out.width - 4)),
        ("Workers", _workers(plan)),
        ("Who waits for whom", _waits(plan)),
        ("Network functions", _nfs(plan)),
        ("Events with conditions", _derived(plan)),
        ("Stack modules, and who needs them", _modules(plan)),
        ("Memory at the limits", _memory(plan)),
        ("What this machine lacks to confine NFs", _lacks()),
    ]
    for title, body in sections:
        if body is None:
            continue
        out.print()
        out.print(Text(title, style="bold"))
        out.print(Padding(body, (0, 0, 0, 2)))


def _headline(plan: Plan) -> str:
    nfs, stages = sum(nf.is_first for nf in plan.nfs), len(plan.stages())
    output = f" → {plan.chain.output}" if plan.chain.output else ""
    counted = f"{nfs} NF{'s' if nfs > 1 else ''} in {stages} stage{'s' if stages > 1 else ''}"
    return f"{plan.chain.file}: fine. {plan.chain.input}{output}, {counted}"


def _grid(*widths: int | None) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for width in widths:
        table.add_column(min_width=width, overflow="fold")
    return table


def _workers(plan: Plan) -> Table | None:
    """How several share out the packets, and what is otherwise than with one."""
    from microbox.cli.plan_json import notes_on_workers

    count = plan.chain.workers
    if count == 1:
        return None
    table = _grid(None)
    table.add_row(
        f"{count} share out the packets by their pairs of hosts; each has a log of its own and a "
        f"process of each NF, {len(plan.nfs) * count} in all"
    )
    for note in notes_on_workers(plan):
        table.add_row(note)
    return table


def _waits(plan: Plan) -> Table | None:
    """Why not all NFs run side by side."""
    table = _grid(None, None)
    for nf in filter(lambda one: one.is_first, plan.nfs):
        for because, earlier in _by_reason(plan, nf).items():
            table.add_row(nf.entry, f"waits for {', '.join(earlier)}: {because}")
    return table if table.rows else None


def _by_reason(plan: Plan, nf: PlannedNF) -> dict[str, list[str]]:
    """Names of the NFs that it waits for, by the reason."""
    reasons: dict[str, list[str]] = {}
    for index, because in sorted(nf.barrier_because.items()):
        names = reasons.setdefault(because, [])
        if plan.nfs[index].entry not in names:
            names.append(plan.nfs[index].entry)
    return reasons


def _nfs(plan: Plan) -> Table:
    table = _grid(None, 10, None)
    for nf in filter(lambda one: one.is_first, plan.nfs):
        first = True
        for label, text in _facts(nf, plan):
            table.add_row(f"[cyan]{nf.entry}[/cyan]" if first else "", f"[dim]{label}[/dim]", text)
            first = False
    return table


def _is_built_in(nf: PlannedNF) -> bool:
    from microbox.chain.sources import PARSERS_PACKAGE, built_in_source

    built_in = (built_in_source(nf.written), built_in_source(nf.written, PARSERS_PACKAGE))
    return nf.source in map(str, built_in)


def _facts(nf: PlannedNF, plan: Plan) -> list[tuple[str, str]]:
    """Label and text of each line about an NF."""
    from rich.markup import escape

    from microbox.chain.subscriptions import short_name
    from microbox.cli.plan_json import needs_of

    facts = [] if _is_built_in(nf) else [("file", escape(nf.source))]
    if nf.added_because:
        facts.append(("added", f"since {escape(nf.added_because)}"))
    if nf.spread:
        by = {"flow": "each flow", "hosts": "all flows of two hosts"}[nf.spread.by]
        facts.append(("instances", f"{nf.spread.count} processes, {by} in one of them"))
    facts += [("reads", escape(text)) for text in _subscriptions(nf)]
    facts += [("modules", escape(text)) for text in _modules_of(nf, plan)]
    facts += [("timer", f"every {_duration(one.period)}") for one in nf.manifest.timers]
    if nf.manifest.publishes:
        catalog = plan.catalog
        names = (short_name(catalog.resolve(one), catalog) for one in nf.manifest.publishes)
        facts.append(("publishes", ", ".join(names)))
    if nf.is_shadow:
        facts.append(("shadow", "what its verdicts would do is counted, and nothing comes of them"))
    if nf.is_inline:
        closed = "nothing of what it reads passes" if nf.fails_closed else "all passes"
        facts.append(("inline", f"may drop packets; should it die, {closed}"))
    elif nf.fails_closed:
        facts.append(("closed", "an inline NF depends on it: should it die, nothing passes"))
    if nf.manifest.edits:
        facts.append(("edits", f"{nf.manifest.edits} of packets"))
    if nf.manifest.commands:
        facts.append(("commands", _commands(plan)))
    facts += [(label, escape(text)) for label, text in _permissions(needs_of(plan, nf))]
    if nf.on_error == "skip":
        facts.append(("on_error", "an event whose handler raises is skipped"))
    if nf.skips:
        facts.append(("on_lag", "loses what it is too slow for, which is counted"))
    return facts


def _permissions(needs: dict[str, Any]) -> list[tuple[str, str]]:
    if not needs["sandbox"]:
        return [("sandbox", "off: it has all rights of the user who runs the chain")]
    rows = [("files", ", ".join(needs["files"])), ("writes", ", ".join(needs["writes"]))]
    rows.append(("network", "sockets of IPv4 and IPv6" if needs["network"] else ""))
    return [(label, text) for label, text in rows if text]


def _subscriptions(nf: PlannedNF) -> list[str]:
    """A line for each filter and way of reading."""
    lines: dict[str, list[str]] = {}
    for handler in nf.manifest.handlers:
        if not handler.handler.isidentifier():
            continue  # the runtime's own
        condition = ""
        if handler.filter:
            per = "flow" if nf.filters[handler.filter].is_per_flow else "packet"
            condition = f"  where {handler.filter}  (decided once a {per})"
        condition += "  in batches" if handler.batch else ""
        condition += _switch(handler)
        lines.setdefault(condition, []).extend(handler.types)
    return [", ".join(dict.fromkeys(types)) + condition for condition, types in lines.items()]


def _modules_of(nf: PlannedNF, plan: Plan) -> list[str]:
    """Which modules each subscription switches on in a flow, by transport."""
    lines: dict[str, list[str]] = {}
    for handler in nf.manifest.handlers:
        if not handler.handler.isidentifier():
            continue  # the runtime's own
        for transport, modules in plan.modules_of(handler).items():
            line = f"{' + '.join(modules)} in flows of {TRANSPORTS[transport]}"
            lines.setdefault(line, []).extend(handler.types)
    return [f"{', '.join(dict.fromkeys(types))}: {line}" for line, types in lines.items()]


def _switch(handler: HandlerDeclaration) -> str:
    if not handler.switch:
        return ""
    until = "until unsubscribed from" if handler.initially else "from a subscription on"
    return f"  (switched for each flow: {until})"


def _commands(plan: Plan) -> str:
    delay = plan.settings["command_delay"]
    return (
        f"leaves flows and comes back: the stack obeys {delay:,} packets later, and is never "
        "further ahead of it"
    )


def _duration(period: int) -> str:
    from microbox.chain.units import format_duration

    return format_duration(period)


def _derived(plan: Plan) -> Table | None:
    """Types with their conditions."""
    from rich.markup import escape

    from microbox.chain.subscriptions import short_name

    types = plan.derived_types()
    if not types:
        return None
    table = _grid(None, None)
    for one, is_read in types:
        unread = "" if is_read else "  [dim](nobody reads it: it is not looked for)[/dim]"
        table.add_row(short_name(one, plan.catalog), f"where {escape(one.condition)}{unread}")
    return table


def _modules(plan: Plan) -> Table:
    from rich.markup import escape

    table = _grid(None, None)
    table.add_row("decode", "[dim]always[/dim]")
    files = {one.name: one.source for one in plan.chain.modules}
    for module in plan.modules:
        types: dict[str, list[str]] = {}
        for nf, written in module.because:
            types.setdefault(nf, []).append(written)
        because = (f"{nf} [dim]({', '.join(written)})[/dim]" for nf, written in types.items())
        table.add_row(module.name, ", ".join(because))
        if module.name in files:
            table.add_row("", f"[dim]from {escape(str(files[module.name]))}[/dim]")
    return table


def _lacks() -> Table | None:
    from microbox.confine.support import missing_parts

    table = _grid(None)
    for sentence in missing_parts():
        table.add_row(sentence)
    return table if table.row_count else None


def _memory_in_all(plan: Plan, parts: list[MemoryPart]) -> tuple[str, str]:
    """Size, and what is to be said of it."""
    from microbox.chain.memory import most_memory
    from microbox.chain.units import format_size

    workers, limit = plan.chain.workers, plan.chain.memory_max
    each = sum(part.size for part in parts if not part.is_shared)
    notes = [f"{format_size(each)} for each worker"] if workers > 1 else []
    notes += [f"of {format_size(limit)} (`memory_max`)"] if limit is not None else []
    return format_size(most_memory(parts, workers)), ", ".join(notes)


def _memory(plan: Plan) -> Table:
    """Each part, with the settings that make it smaller."""
    from rich.markup import escape

    from microbox.chain.units import format_size
    from microbox.runtime.machine import available_memory, warnings_about_memory

    parts = plan.memory()
    table = _grid(None, None, None)
    table.columns[1].justify = "right"
    for part in parts:
        keys = f"[dim]{', '.join(part.keys)}[/dim]"
        table.add_row(escape(part.words), format_size(part.size), keys)
    table.add_row("[bold]in all[/bold]", *_memory_in_all(plan, parts))
    for warning in warnings_about_memory(plan, available_memory()):
        table.add_row("", "", f"warning: {warning}")
    return table
