"""What a run has taken of its limits, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbox.chain.units import format_size

TABLES = ("flows", "held_segments", "compared_segments", "judged_bytes", "fragments")
"""Of these it says something that they are full; the others are rings and areas."""
WORTH_SAYING = 0.1
"""From this share of its limit on."""


def memory_in_words(use: Mapping[str, Any]) -> str:
    """`use`: a MemoryUse as a mapping. With the tables that are filling up."""
    words = f"{format_size(use['used'])} of {format_size(use['limit'])}"
    if use["budget"] is not None:
        words += f" (memory_max {format_size(use['budget'])})"
    tables = [part for part in use["parts"] if part["part"] in TABLES]
    return ", ".join([words, *(_part(one) for one in tables if _share(one) >= WORTH_SAYING)])


def _share(part: Mapping[str, Any]) -> float:
    return float(part["used"] / part["limit"])


def _part(part: Mapping[str, Any]) -> str:
    return f"{part['part'].replace('_', ' ')} {_share(part):.0%} of {format_size(part['limit'])}"
