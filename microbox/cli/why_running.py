"""`microbox why` of a flow in a chain that runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from microbox.cli.run_names import find_run
from microbox.cli.terminal import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

Row = dict[str, Any]

SIDES = ("originator", "responder")


def why_in_run(flow: str, run: str, *, as_json: bool) -> int:
    """What is done for it at this moment; the exit status."""
    from microbox.runtime.control.control_socket import ControlError, ask
    from microbox.runtime.errors import FAILED

    found = find_run(run, "why")
    if isinstance(found, int):
        return found
    name, control = found
    try:
        accounts = ask(control, "why", flow=flow)["flows"]
    except ControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    if as_json:
        print_json({"run": name, "flows": accounts})
        return 0
    for index, account in enumerate(accounts):
        if index:
            print()
        _print(name, account)
    return 0


def _print(run: str, account: Row) -> None:
    from rich.padding import Padding
    from rich.text import Text

    out = console()
    out.print(Text(_headline(run, account)), soft_wrap=True)
    sections = (
        ("Modules of the stack that run for it", _modules(account)),
        ("Who gets events of it", _getting(account)),
        ("Who does not", _not_getting(account)),
    )
    for title, body in sections:
        if body.row_count:
            out.print(Text(f"\n{title}", style="bold"))
            out.print(Padding(body, (0, 0, 0, 2), expand=False))


def _headline(run: str, account: Row) -> str:
    states = f", {' / '.join(account['states'])}" if account["states"] else ""
    return (
        f"{account['name']}, flow {account['flow_id']} of {run}: "
        f"{account['pkts_toserver']:,} → {account['pkts_toclient']:,} ← packets, "
        f"{account['bytes_toserver']:,} → {account['bytes_toclient']:,} ← bytes{states}"
    )


def _table() -> Table:
    from rich.table import Table

    return Table.grid(padding=(0, 3, 0, 0))


def _add(table: Table, *cells: str) -> None:
    from rich.text import Text

    table.add_row(*map(Text, cells))


def _modules(account: Row) -> Table:
    table = _table()
    for module in account["modules"]:
        name = module["name"]
        if name == "tcp.stream":
            name = f"{name}{_sides(account['streams'])}"
        for index, one in enumerate(module["because"] or [None]):
            cells = (_place(one), f"reads {_types(one)}") if one else ("what NFs publish needs it",)
            _add(table, "" if index else name, *cells)
    if not account["modules"]:
        _add(table, "none: its packets are decoded, no more")
    return table


def _getting(account: Row) -> Table:
    table = _table()
    for one in account["subscriptions"]:
        if one["gets"] is None:
            _add(table, _place(one), _types(one), f"packets that fit: {one['filter']}")
        elif any(one["gets"]):
            _add(table, _place(one), f"{_types(one)}{_sides(one['gets'])}")
    return table


def _not_getting(account: Row) -> Table:
    table = _table()
    for one in account["subscriptions"]:
        if one["gets"] is None or any(one["gets"]):
            continue
        because = (
            "switched off for the flow, by it or by a drop"
            if any(one["off"])
            else f"the filter takes none of its packets: {one['filter']}"
        )
        _add(table, _place(one), _types(one), because)
    return table


def _sides(is_meant: list[bool]) -> str:
    """Whose packets are meant; "" for both."""
    if all(is_meant) or not any(is_meant):
        return ""
    return f" of what the {SIDES[is_meant.index(True)]} sends"


def _place(one: Row) -> str:
    """The handler; of what the runtime reads for itself, what for."""
    name = one["handler"]
    return f"{one['nf']}.{name}" if name.isidentifier() else f"{one['nf']} {name}"


def _types(one: Row) -> str:
    return ", ".join(one["types"])
