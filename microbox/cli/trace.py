"""`microbox trace`: packets of flows on their way through stack and NFs, and what each took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from microbox.cli.flow_search import FlowSearchError, FoundFlow, filter_error, flows_of
from microbox.cli.run_names import find_run
from microbox.cli.terminal import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

Packet = dict[str, Any]

FLOWS_AT_ONCE = 10
"""Of those that a filter takes, between two looks at which there are."""

SHORT = 10.0  # microseconds; below that hundredths are shown of what the stack took

REST = 0.2  # seconds, where there is none


def trace(
    flow: str,
    /,
    *,
    run: str = "",
    count: Annotated[int, Parameter(name=["--count", "-n"])] = 10,
    timeout: float = 10.0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show the way of packets through a chain that runs: how long each one was in the stack, which
    NFs it is for, how long it waited for others to pass it, and how long each took. The chain does
    not wait for it.

    Parameters
    ----------
    flow
        Its ends, such as '10.0.0.1:1234 -> 10.0.0.2:80', with tcp or udp in front where both may
        be meant; or its number, which `microbox flows` and logs call flow_id. Or a filter, such
        as 'tcp port 443': packets of all flows that it takes are shown, as they come.
    run
        The run, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one chain runs.
    count
        How many packets are shown. Others go by while one is watched.
    timeout
        Seconds after which no more packets are waited for.
    json
        Print one JSON document.
    """
    from microbox.runtime.control.control_socket import ControlError
    from microbox.runtime.errors import FAILED, USAGE

    if wrong := _wrong(flow, count, timeout):
        print(f"error: {wrong}", file=sys.stderr)
        return USAGE
    found = find_run(run, "trace")
    if isinstance(found, int):
        return found
    name, control = found
    try:
        if _is_flow(flow):
            number, packets = _packets(control, flow, count, timeout)
            document = {"run": name, "flow_id": number, "packets": packets}
        else:
            packets = _packets_of_all(name, control, flow, count, timeout)
            document = {"run": name, "filter": flow, "packets": packets}
    except (ControlError, FlowSearchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    if json:
        print_json(document)
    elif packets:
        show(packets)
    if len(packets) < count:
        followed = f"followed {len(packets)} of {count} packets in {timeout:g} s"
        print(f"{followed}; it looks now and then, so others may have passed", file=sys.stderr)
    return 0


def _is_flow(written: str) -> bool:
    """False for a filter."""
    from microbox.runtime.inspection.flow_name import parse_flow

    try:
        parse_flow(written)
    except ValueError:
        return False
    return True


def _wrong(written: str, count: int, timeout: float) -> str:
    """What cannot be, in a sentence; else ""."""
    from microbox.runtime.inspection.flow_name import EXPECTED

    if count < 1 or timeout <= 0:
        return "-n and --timeout: expected more than 0"
    why = "" if _is_flow(written) else filter_error(written)
    if not why:
        return ""
    return f"'{written}' names no flow, and as a filter it {why}; {EXPECTED}, or 'tcp port 443'"


def _packets_of_all(
    run: str, control: Path, filter: str, count: int, timeout: float
) -> list[Packet]:
    """Of the flows that a filter takes, those that come meanwhile too. Raises FlowSearchError."""
    packets: list[Packet] = []
    until = time.monotonic() + timeout
    while len(packets) < count and time.monotonic() < until:
        flows = flows_of(run, filter)
        if not flows:
            time.sleep(REST)
        for flow in flows[:FLOWS_AT_ONCE]:
            packets += _named(control, flow)
            if len(packets) >= count or time.monotonic() >= until:
                break
    return packets[:count]


def _named(control: Path, flow: FoundFlow) -> list[Packet]:
    """Some of its packets, with its name; none where it has ended."""
    from microbox.runtime.control.control_socket import ControlError, ask

    try:
        answer = ask(control, "trace", flow=str(flow.number))
    except ControlError:
        return []
    return [{"flow_id": flow.number, "flow": flow.name, **one} for one in answer["packets"]]


def _packets(control: Path, flow: str, count: int, timeout: float) -> tuple[int, list[Packet]]:
    """Raises ControlError, also where the flow is not there at first."""
    from microbox.runtime.control.control_socket import ControlError, ask

    packets: list[Packet] = []
    number = 0
    until = time.monotonic() + timeout
    while len(packets) < count and (not number or time.monotonic() < until):
        try:
            answer = ask(control, "trace", flow=str(number or flow))
        except ControlError:
            if not number:
                raise
            break  # it has ended, or the run has
        number = answer["flow_id"]
        packets += answer["packets"]
    return number, packets[:count]


def show(packets: list[Packet]) -> None:
    """As a table."""
    console().print(_table(packets))


def _table(packets: list[Packet]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    of_several = ("flow",) if any("flow" in packet for packet in packets) else ()
    for column in (*of_several, "packet", "events", "stage", "waited", "took"):
        table.add_column(column, justify="left" if column in ("flow", "stage") else "right")
    for packet in packets:
        arrow = "→" if packet["from"] == "originator" else "←"
        which = tuple(packet[column] for column in of_several)
        first = (*which, f"{packet['packet']:,} {arrow}", f"{packet['events']:,}")
        for stage in (*_stack_rows(packet["stack"]), *_nf_rows(packet["nfs"])):
            table.add_row(*map(Text, (*first, *stage)))
            first = ("",) * len(first)
    return table


def _stack_rows(stack: dict[str, Any] | None) -> Iterator[tuple[str, str, str]]:
    """With a row for each of its parts."""
    if stack is None:
        yield "stack", "", "not known"
        return
    yield "stack", _duration(stack["waited"]), _short_duration(stack["took"])
    for one in stack["parts"]:
        yield f"  {one['part']}", "", _short_duration(one["took"])


def _nf_rows(nfs: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for one in nfs:
        yield one["nf"], *_times(one)
    if not nfs:
        yield "no NF reads it", "", ""


def _times(one: dict[str, Any]) -> tuple[str, str]:
    """How long it waited, and how long it took."""
    waited = _duration(one["waited"]) if one["waited"] else ""
    if one["took"] is None:
        return waited, "not yet"
    return waited, f"{'' if one['exact'] else '~'}{_duration(one['took'])}"


def _short_duration(microseconds: float) -> str:
    return f"{microseconds:.2f} µs" if microseconds < SHORT else _duration(microseconds)


def _duration(microseconds: float) -> str:
    milliseconds = microseconds / 1000
    return f"{milliseconds:,.2f} ms" if milliseconds >= 1 else f"{microseconds:.0f} µs"
