"""`microbox doctor`: what works on this machine, and what mends the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from microbox.runtime.examination import Finding

STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red"}


def doctor(*, json_: Annotated[bool, Parameter(name="--json", negative=())] = False) -> int:
    """Say what works on this machine, and what does not.

    The exit status is 1 where something is missing that chains need.

    Parameters
    ----------
    json_
        Print one JSON document.
    """
    import dataclasses

    from microbox.cli.terminal import print_json
    from microbox.runtime.examination import State, examine

    findings = list(examine())
    if json_:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        _print(findings)
    return int(any(finding.state is State.FAILURE for finding in findings))


def _print(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from microbox.cli.terminal import console

    table = Table.grid(padding=(0, 3, 0, 0))
    for finding in findings:
        words = Text(finding.found)
        if finding.remedy:
            words.append(f"\n→ {finding.remedy}", style="bold")
        table.add_row(Text(finding.state, style=STYLES[finding.state]), finding.name, words)
    out = console()
    out.print(table)
    out.print()
    out.print(Text(_in_sum(findings)))


def _in_sum(findings: list[Finding]) -> str:
    states = [finding.state.value for finding in findings]
    failures, warnings = states.count("failure"), states.count("warning")
    if failures:
        return f"not all chains run here: {failures} of {len(states)} have to be mended"
    if warnings:
        return f"chains run here; {warnings} of {len(states)} could be better"
    return "all is well"
