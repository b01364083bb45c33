"""docs/guide/nfs.md says what `microbox nfs` says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guide" / "nfs.md"


@pytest.fixture(scope="module")
def nfs() -> list[dict[str, Any]]:
    microbox = Path(sys.executable).with_name("microbox")
    output = subprocess.run([str(microbox), "nfs", "--json"], check=True, capture_output=True)
    listed: list[dict[str, Any]] = json.loads(output.stdout)
    return listed


def table(heading: str) -> list[list[str]]:
    """Rows of the first table below a heading; a cell that is all code without its marks."""
    section = PAGE.read_text().partition(f"{heading}\n")[2].partition("\n#")[0]
    lines = re.findall(r"^\| (`.+) \|$", section, re.M)
    return [[re.sub(r"^`([^`]+)`$", r"\1", cell) for cell in line.split(" | ")] for line in lines]


def test_every_nf_is_on_the_page_with_what_it_reads(nfs: list[dict[str, Any]]) -> None:
    expected = {}
    for nf in nfs:
        # The runtime's own subscriptions, to the ends of flows with a state, are no handlers.
        handlers = [one for one in nf["subscriptions"] if one["handler"].isidentifier()]
        expected[nf["name"]] = sorted({name for one in handlers for name in one["types"]})
    page = {
        name: sorted(re.findall(r"[a-z_.]+", reads))
        for name, _what, reads, _writes in table("# Built-in network functions")
    }
    assert page == expected


def test_every_parameter_is_on_the_page(nfs: list[dict[str, Any]]) -> None:
    expected = [
        (
            nf["name"],
            one["name"],
            "required" if one["required"] else json.dumps(one["default"]),
            one["doc"],
        )
        for nf in nfs
        for one in nf["parameters"]
    ]
    assert sorted(map(tuple, table("## Parameters"))) == sorted(expected)


def test_every_parameter_says_what_it_is(nfs: list[dict[str, Any]]) -> None:
    silent = [(nf["name"], one["name"]) for nf in nfs for one in nf["parameters"] if not one["doc"]]
    assert silent == []
