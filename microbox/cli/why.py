"""`microbox why`: which subscription wakes which module and which NF for a flow, and what that
costs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from microbox.cli.overriding import AS_WRITTEN, Overriding
from microbox.cli.terminal import console, print_json
from microbox.cli.why_running import why_in_run

if TYPE_CHECKING:
    from rich.table import Table

    from microbox.api.flow_account import FlowAccount, FlowFound, Subscription
    from microbox.chain.plan import Plan
    from microbox.runtime.inspection.flow_name import FlowName


def why(
    flow: str,
    chain: Path | None = None,
    /,
    *,
    run: str = "",
    overriding: Overriding = AS_WRITTEN,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Say what a chain does for one flow: which modules of the stack run for it and because of
    which subscription, which NFs are woken how often, and which are not, and why.

    Parameters
    ----------
    flow
        Its ends, such as '10.0.0.1:1234 -> 10.0.0.2:80', with tcp or udp in front where both may
        be meant; or its number, which logs call flow_id.
    chain
        The chain file (YAML): the flow is one of its capture. Its NFs are asked what they subscribe
        to; they do not run. Without it, the flow is one of a chain that runs, at this moment.
    run
        That chain, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one runs.
    json
        Print one JSON document.
    """
    from microbox.runtime.errors import USAGE
    from microbox.runtime.inspection.flow_name import parse_flow

    try:
        name = parse_flow(flow)
    except ValueError as error:
        return _fail(str(error), USAGE)
    if chain is None:
        return why_in_run(flow, run, as_json=json)
    if run:
        return _fail("--run: a chain file was named as well; expected one of them", USAGE)
    return _why_in_capture(flow, name, chain, overriding, as_json=json)


def _why_in_capture(
    flow: str, name: FlowName, chain: Path, overriding: Overriding, *, as_json: bool
) -> int:
    from microbox.chain.describe import describe_all
    from microbox.chain.prepare import prepare
    from microbox.runtime.errors import FAILED, USAGE, InputError, RunError
    from microbox.runtime.processes.validation import from_child

    plan = prepare(chain, partial(describe_all, decode=from_child), overriding.overrides())
    try:
        account = _account(plan, name)
    except InputError as error:
        return _fail(str(error), USAGE)
    except RunError as error:
        return _fail(str(error), FAILED)
    if account is None:
        return _fail(f"{plan.chain.input} has no flow '{flow}'", USAGE)
    if as_json:
        print_json(_document(plan, account))
    else:
        _print(plan, account)
    return 0


def _account(plan: Plan, name: FlowName) -> FlowAccount | None:
    """Of the first flow that is meant; None where there is none. Raises InputError, RunError."""
    from microbox.api.flow_account import account_of, find_flows
    from microbox.runtime.inputs.several_captures import open_input

    capture = open_input(plan.chain.input, plan.chain.input_bytes_max)
    try:
        found = find_flows(plan, capture.fd, name)
        if not found:
            return None
        account = account_of(plan, capture.fd, found[0])
    finally:
        os.close(capture.fd)
    account.others = [one.number for one in found[1:]]
    return account


def _fail(error: str, status: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status


# --- for programs ---


def _document(plan: Plan, account: FlowAccount) -> dict[str, Any]:
    """Stable keys (docs/guide/cli.md)."""
    flow = account.flow
    return {
        "chain": plan.chain.file,
        "input": str(plan.chain.input),
        "flow": {
            "flow_id": flow.number,
            "name": flow.words,
            "pkts_toserver": flow.packets[0],
            "pkts_toclient": flow.packets[1],
            "bytes_toserver": flow.bytes[0],
            "bytes_toclient": flow.bytes[1],
            "age": flow.seconds,
            "reason": flow.reason,
        },
        "others": account.others,
        "modules": [
            {"name": module, "because": [_named(one) for one in woken_by]}
            for module, woken_by in account.modules.items()
        ],
        "subscriptions": [_subscription(one) for one in account.subscriptions],
        "entries": account.entries,
        "deliveries": account.deliveries,
    }


def _named(one: Subscription) -> dict[str, Any]:
    return {"nf": one.nf.entry, "handler": one.handler.handler, "types": one.handler.types}


def _subscription(one: Subscription) -> dict[str, Any]:
    return {
        **_named(one),
        "filter": one.handler.filter,
        "matched": list(one.matched) if one.handler.filter else None,
        "initially": one.handler.initially,
        "modules": one.wakes,
        "events": dict(sorted(one.events.items())) if one.is_counted else None,
        "events_of_all_flows": one.of_all if one.is_counted else None,
    }


# --- for people ---


def _print(plan: Plan, account: FlowAccount) -> None:
    from rich.padding import Padding
    from rich.text import Text

    out = console()
    out.print(Text(_headline(plan, account.flow)), soft_wrap=True)
    sections = (
        ("Modules of the stack that run for it", _modules(account)),
        ("Who is woken", _woken(account)),
        ("Who is not", _not_woken(account)),
        ("Added for others", _added(plan)),
    )
    for title, body in sections:
        if body.row_count:
            out.print(Text(f"\n{title}", style="bold"))
            out.print(Padding(body, (0, 0, 0, 2), expand=False))
    out.print(Text("\nWhat it costs", style="bold"))
    for line in _costs(account):
        out.print(Text(f"  {line}"), soft_wrap=True)
    if account.others:
        numbers = ", ".join(map(str, account.others))
        print(f"other flows with these ends: {numbers}; name one by its number", file=sys.stderr)


def _headline(plan: Plan, flow: FlowFound) -> str:
    return (
        f"{flow.words}, flow {flow.number} of {plan.chain.input}: "
        f"{flow.packets[0]:,} → {flow.packets[1]:,} ← packets, "
        f"{flow.bytes[0]:,} → {flow.bytes[1]:,} ← bytes, {flow.seconds:.1f} s, "
        f"its end: {flow.reason}"
    )


def _table(*columns: str, header: bool = True) -> Table:
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=header
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    from rich.text import Text

    table.add_row(*map(Text, cells))


def _modules(account: FlowAccount) -> Table:
    table = _table("", "", "", header=False)
    for module, woken_by in account.modules.items():
        for index, one in enumerate(woken_by):
            _add(table, "" if index else module, _place(one), f"reads {_types(one)}")
    if not account.modules:
        _add(table, "none: its packets are decoded, no more")
    return table


def _woken(account: FlowAccount) -> Table:
    table = _table("handler", "reads", "filter", "events", "of all flows'")
    table.columns[3].justify = table.columns[4].justify = "right"
    for one in account.subscriptions:
        if one.events:
            counts = (f"{one.events.total():,}", f"{one.of_all:,}")
        elif not one.is_counted and not _why_not(one):
            counts = ("not counted", "")
        else:
            continue
        _add(table, _place(one), _types(one), one.handler.filter or "-", *counts)
    return table


def _not_woken(account: FlowAccount) -> Table:
    """By reason."""
    reasons: dict[str, list[str]] = {}
    for one in account.subscriptions:
        because = _why_not(one)
        if because:
            reasons.setdefault(because, []).append(_place(one))
    table = _table("", "", header=False)
    for because, places in reasons.items():
        _add(table, ", ".join(places), because)
    return table


def _why_not(one: Subscription) -> str:
    """ "" where it is."""
    if one.events:
        return ""
    if not one.fits:
        return f"the filter takes none of its packets: {one.handler.filter}"
    if not one.handler.initially:
        return "off, until the NF subscribes for this flow"
    return "it has no such event" if one.is_counted else ""


def _added(plan: Plan) -> Table:
    table = _table("", "", header=False)
    for nf in plan.nfs:
        if nf.is_first and nf.added_because:
            _add(table, nf.entry, f"since {nf.added_because}")
    return table


def _costs(account: FlowAccount) -> Iterator[str]:
    modules = ", ".join(account.modules) or "no module"
    yield f"{sum(account.flow.packets):,} packets through {modules}"
    yield (
        f"{account.entries:,} events, written to the log once each, handed over "
        f"{account.deliveries:,} times"
    )
    facts = {written: one for nf in account.nfs for written, one in nf.filters.items()}
    each = sum(not one.is_per_flow for one in facts.values())
    if facts:
        yield f"{len(facts):,} filters, {each:,} of which look at each packet"


def _place(one: Subscription) -> str:
    """The handler; of what the runtime reads for itself, what for."""
    name = one.handler.handler
    return f"{one.nf.entry}.{name}" if name.isidentifier() else f"{one.nf.entry} {name}"


def _types(one: Subscription) -> str:
    return ", ".join(one.handler.types)
