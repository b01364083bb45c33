"""The summary of a run, for people."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from microbox.chain.units import format_size
from microbox.cli.memory_words import memory_in_words
from microbox.events.catalog import built_in
from microbox.runtime.accounts.report import (
    Balance,
    NFReport,
    RunReport,
    StreamReport,
    Term,
    event_counts,
)
from microbox.runtime.processes.supervisor import printable

VALUE_WIDTH = 120
"""Characters of a text in an NF's summary; the rest is in summary.json."""

SEVERITIES = {1: "information", 2: "notice", 3: "warning", 4: "critical"}


LOOKED_ON = re.compile(r"(flows|watch)-\d+")
"""Names of NFs that a verb attached: with its process."""


def print_summary(report: RunReport, console: Console) -> None:
    """Prints all of it. Text of NFs and of the wire is never taken for markup."""
    of_nfs = (_nfs, _gate, _shadows, _flows, _alerts)
    for section in (_head, *of_nfs, _events, _losses, _caps, _unusual, _logs):
        section(report, console)


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _show(console: Console, *lines: str) -> None:
    """Lines of their own; on a terminal a long one goes on below itself, in a pipe it does not
    end."""
    for line in lines:
        if not console.is_terminal:
            console.print(Text(f"  {line}"), soft_wrap=True)
            continue
        indent = "  "
        for part in Text(line).wrap(console, max(console.width - 4, 1)):
            console.print(Text(f"{indent}{part.plain.rstrip()}"), soft_wrap=True)
            indent = "    "


def _table(*columns: str, numbers: Iterable[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        justify: JustifyMethod = "right" if column in numbers else "left"
        table.add_column(column, justify=justify, overflow="fold")
    return table


def _cell(value: object) -> Text:
    return Text(f"{value:,}" if isinstance(value, int) else printable(str(value)))


def _print_table(console: Console, table: Table) -> None:
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _head(report: RunReport, console: Console) -> None:
    _title(console, f"{report.chain}: {_ended(report)}")
    source = report.input
    flows = ", ".join(f"{count:,} {kind}" for kind, count in source.flows.items() if count)
    _show(
        console,
        f"input    {source.file}: {source.format}, {source.packets:,} packets, "
        f"{_size(source.bytes)}" + (f"; flows: {flows}" if flows else ""),
    )
    if source.stream:
        for line in _about_stream(source.stream):
            _show(console, f"         {line}")
    if report.output:
        output = report.output
        _show(console, f"output   {output.file}: {output.packets:,} packets, {_size(output.bytes)}")
    if report.timing:
        timing = report.timing
        _show(
            console,
            f"time     {timing.seconds:.2f} s: {timing.packets_per_second:,.0f} packets/s, "
            f"{timing.events_per_second:,.0f} events/s",
        )
    if report.memory:
        _show(console, f"memory   {memory_in_words(dataclasses.asdict(report.memory))}")


def _about_stream(stream: StreamReport) -> Iterator[str]:
    """What is to be known of how a pipe was read."""
    if stream.relieved:
        yield (
            f"the window of {format_size(stream.window)} was full of what waited for bytes before "
            f"it, which was given up {stream.relieved:,} times"
        )
    if stream.late:
        yield f"{stream.late:,} packets came when their time had passed"


def _ended(report: RunReport) -> str:
    if report.ended == "finished" and report.error:
        return f"finished, but {printable(report.error)}"
    return report.ended


def _nfs(report: RunReport, console: Console) -> None:
    _title(console, "Network functions")
    names = ("saw", "handled", "published", "alerts", "dropped", "records")
    table = _table("name", *names, "ended", numbers=names)
    lookers = Counter(name for nf in report.nfs if (name := _who_looked_on(nf)))
    for nf in report.nfs:
        if _who_looked_on(nf):
            continue
        for name, one in [(nf.name, nf), *((f"  {each.name}", each) for each in nf.instances)]:
            table.add_row(_cell(name), *map(_cell, _counts(one)), _cell(one.outcome))
    _print_table(console, table)
    for nf in report.nfs:
        _show(console, *_nf_summary(nf))
    if lookers:
        _show(console, f"looked on: {', '.join(f'{name} {n:,}' for name, n in lookers.items())}")


def _who_looked_on(nf: NFReport) -> str:
    """The verb that attached it to look on, where all was well; "" for any other NF. Of a chain
    that runs for months there may be thousands."""
    found = LOOKED_ON.fullmatch(nf.name)
    return found[1] if found and nf.attached and nf.is_well else ""


def _counts(nf: NFReport) -> tuple[int, ...]:
    dropped = sum(nf.verdicts.get(verdict, 0) for verdict in ("drop", "drop_flow", "reset"))
    return (nf.matched, nf.handled, sum(nf.published.values()), nf.alerts, dropped, nf.records)


def _gate(report: RunReport, console: Console) -> None:
    """What came of the verdicts, by NF and reason."""
    judges = [(nf.name, nf.gate) for nf in report.nfs if nf.gate]
    if not judges:
        return
    _title(console, "At the gate")
    names = ("packets dropped", "flows dropped", "flows reset", "passed unjudged")
    table = _table("name", *names, "reasons", numbers=names)
    for name, gate in judges:
        row = (gate.dropped, gate.flows_dropped, gate.flows_reset, gate.passed_unjudged)
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in gate.packets.items())
        table.add_row(_cell(name), *map(_cell, row), _cell(reasons))
    _print_table(console, table)
    edited = ((name, gate.edits_in_words) for name, gate in judges)
    _show(console, *(f"{name}: {words}" for name, words in edited if words))


def _shadows(report: RunReport, console: Console) -> None:
    """What NFs in shadow would have done."""
    shadows = [(nf.name, nf.shadow) for nf in report.nfs if nf.shadow]
    if not shadows:
        return
    _title(console, "In shadow")
    _show(console, *(f"{name} {shadow.in_words}" for name, shadow in shadows))


def _nf_summary(nf: NFReport) -> list[str]:
    words = summary_words(nf.summary)
    return [f"{nf.name}: {words}"] if words else []


def summary_words(summary: Mapping[str, Any]) -> str:
    """What an NF's finish() returned, on one line; "" for nothing."""
    shown = {key: value for key, value in summary.items() if value not in ({}, [])}
    return ", ".join(f"{key} {_value(value)}" for key, value in shown.items())


def _value(value: Any) -> str:
    """A value of a summary in words; what is nested is cut after some items."""
    match value:
        case bool() | None:
            return str(value).lower()
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.3f}"
        case dict():
            shown = [f"{printable(str(key))} {_value(each)}" for key, each in value.items()]
            return f"({_some(shown)})"
        case list():
            return f"({_some([_value(each) for each in value])})"
        case _:
            text = printable(str(value))
            return text if len(text) <= VALUE_WIDTH else f"{text[:VALUE_WIDTH]}…"


def _some(words: list[str], most: int = 8) -> str:
    return ", ".join(words[:most]) + (f", … {len(words) - most:,} more" if words[most:] else "")


def _flows(report: RunReport, console: Console) -> None:
    if not report.top_flows:
        return
    _title(console, "Top flows")
    names = ("packets", "bytes", "seconds")
    table = _table("", "originator", "responder", *names, "ended", numbers=names)
    for flow in report.top_flows:
        row = (flow.protocol, flow.source, flow.destination, flow.packets, flow.bytes)
        table.add_row(*map(_cell, row), f"{flow.duration:.3f}", _cell(flow.reason))
    _print_table(console, table)


def _alerts(report: RunReport, console: Console) -> None:
    _title(console, f"Alerts: {report.alerts:,}")
    if not report.first_alerts:
        return
    table = _table("severity", "by", "signature", "message", "flow")
    for alert in report.first_alerts:
        severity = SEVERITIES.get(alert.severity, str(alert.severity))
        name = f"{alert.nf} (in shadow)" if alert.in_shadow else alert.nf
        row = (severity, name, alert.signature, alert.message, alert.flow)
        table.add_row(*map(_cell, row))
    _print_table(console, table)
    more = report.alerts - len(report.first_alerts)
    if more > 0:
        _show(console, f"… and {more:,} more in alert_log.jsonl")


def _events(report: RunReport, console: Console) -> None:
    sums = event_counts(report)
    total = sum(report.events.values())
    tree = Tree(Text(f"event  {total:,}"), guide_style="dim")
    nodes: dict[str, Tree] = {"": tree}
    for name in sums:  # in the order of the catalog
        parent, _, label = name.rpartition(".")
        nodes[name] = nodes[parent].add(Text(f"{label}  {sums[name]:,}"))
    _title(console, "Events")
    console.print(Padding(tree, (0, 0, 0, 2), expand=False))


def _losses(report: RunReport, console: Console) -> None:
    unexplained = [balance for balance in report.balances if balance.difference]
    adds_up = "and it adds up" if not unexplained else "and it does NOT add up"
    what = "nothing" if report.lost == 0 else f"{report.lost:,}"
    _title(console, f"Lost: {what}, {adds_up}")
    for balance in report.balances:
        _show(console, equation(balance))


def equation(balance: Balance) -> str:
    """`packets: 10 in the file = 7 TCP + 3 UDP`; parts that are 0 are left out, losses are not."""
    parts = [part for part in balance.parts if part.count or part.is_loss]
    right = " + ".join(map(_term, parts)) or "0"
    unexplained = f" + {balance.difference:,} UNACCOUNTED FOR" if balance.difference else ""
    return f"{balance.name}: {_term(balance.total)} = {right}{unexplained}"


def _term(term: Term) -> str:
    return f"{term.count:,} {term.what}"


AT_CAP = {
    "evict": "the oldest were given up",
    "drop-packet": "the packets were dropped",
    "drop-flow": "the packets, and those that belong with them, were dropped",
    "bypass": "the packets went out unseen",
    "pass": "the packets went on, but were not kept",
}


def _caps(report: RunReport, console: Console) -> None:
    """Which limits of the stack were met, and what was done."""
    if not report.caps_met:
        return
    _title(console, "Caps that were met")
    table = _table("times", "cap", "policy", "", numbers=("times",))
    for cap, by_policy in report.caps_met.items():
        for policy, times in by_policy.items():
            table.add_row(*map(_cell, (times, cap, policy, AT_CAP[policy])))
    _print_table(console, table)


def _unusual(report: RunReport, console: Console) -> None:
    """What the stack thought worth a notice, in the words of reasons.def."""
    reasons = [
        reason
        for reason in built_in().reasons
        if reason.name in report.reasons and reason.severity != "info"
    ]
    if not reasons:
        return
    _title(console, "Unusual")
    table = _table("count", "reason", "severity", "", numbers=("count",))
    for reason in reasons:
        row = (report.reasons[reason.name], reason.name, reason.severity, reason.doc)
        table.add_row(*map(_cell, row))
    _print_table(console, table)


def _logs(report: RunReport, console: Console) -> None:
    if not report.directory:
        return
    _title(console, f"Logs in {report.directory}")
    table = _table("file", "lines", numbers=("lines",))
    for name, lines in report.logs.items():
        table.add_row(_cell(name), _cell(lines))
    table.add_row("summary.json", "")
    _print_table(console, table)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":  # noqa: PLR2004
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError
