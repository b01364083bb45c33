"""Which flows of a chain that runs a filter takes: `microbox flows`, in a process of its own, since
who looks at a chain confines itself and could ask no more."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

MAIN = "import sys; from microbox.cli.main import main; sys.exit(main())"


class FlowSearchError(Exception):
    """The flows cannot be looked at. Says why, for people."""


@dataclass(frozen=True, slots=True)
class FoundFlow:
    """One that the filter takes."""

    number: int  # flow_id
    name: str


def filter_error(written: str) -> str:
    """Why that is no filter of flows, in words that follow it; "" where it is one."""
    from microbox.chain.filters import judge_filter

    facts = judge_filter(written)
    if facts.error:
        return f"is none: {facts.error}"
    if not facts.is_per_flow:
        return "looks at more of a packet than its addresses and ports"
    return ""


def flows_of(run: str, filter: str) -> list[FoundFlow]:
    """Those that are there now, the last one to have had a packet first. Raises
    FlowSearchError."""
    command = [sys.executable, "-P", "-c", MAIN, "flows", run, "--filter", filter, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise FlowSearchError(result.stderr.strip().removeprefix("error: "))
    rows = sorted(json.loads(result.stdout)["flows"], key=lambda row: row["idle"])
    return [FoundFlow(row["flow_id"], _name(row)) for row in rows]


def _name(row: dict[str, str | int]) -> str:
    source, destination = (_end(row, side) for side in ("src", "dest"))
    return f"{source} → {destination} {row['proto']}"


def _end(row: dict[str, str | int], side: str) -> str:
    address, port = str(row[f"{side}_ip"]), row[f"{side}_port"]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
