"""The attacks. `ATTACKS` has them all; `listing` writes docs/evasion.md."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from attacks import (  # noqa: F401 (each adds its attacks to the list)
    connections,
    floods,
    fragments,
    headers,
    resets,
    segments,
    tunnels,
)
from attacks.attack import ATTACKS, Attack, Pieces, Right, Scene

LIST = Path(__file__).parents[3] / "docs" / "evasion.md"
HEAD = """# Attacks on passive stacks

Who watches a connection from the middle has to guess what its ends make of each packet. Whoever
knows of a packet that the watcher takes and the receiver does not, or the other way round, can hide
what is said (Ptacek and Newsham 1998 call it insertion and evasion). These are the published ways
that `make evasion` tries, each with what is right and why. Each is run with one worker and with
two, with packets one by one and in batches of 256, with the same result; and amid a connection of
two other hosts and before the next one of theirs, whose bytes must come out whole.

This page is made from `tests/evasion/attacks`: `make evasion-list`.
"""
TITLES = {
    "fragments": "IP fragments",
    "segments": "TCP segments and their order",
    "connections": "Opening and closing",
    "resets": "Resets, and what pretends to be one",
    "headers": "Headers, options and checksums",
    "tunnels": "Tags, tunnels and extension headers",
    "floods": "Floods, and packets that cost much",
}

__all__ = ["ATTACKS", "LIST", "Attack", "Pieces", "Right", "Scene", "listing"]


def listing() -> str:
    """The list for people."""
    parts = [HEAD]
    number = 0
    for group, attacks in groupby(sorted(ATTACKS, key=_place), key=lambda one: one.group):
        parts.append(f"\n## {TITLES[group]}\n\n| | attack | published | right answer |\n")
        parts.append("| ---: | --- | --- | --- |\n")
        for one in attacks:
            number += 1
            parts.append(f"| {number} | {one.name} | {one.source} | {one.answer} |\n")
    return "".join(parts)


def _place(attack: Attack) -> int:
    return list(TITLES).index(attack.group)
