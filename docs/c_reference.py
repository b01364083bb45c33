"""Writes the page of what NFs in C are made of: declarations of the public headers, each with the
comment in front of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "microbox"
HEADERS = {  # title → file, and what stands in front of its declarations
    "Calls": PACKAGE / "include" / "microbox_nf.h",
    "Descriptor and event": PACKAGE / "c_nf" / "abi.h",
    "Entry of the log": PACKAGE / "bus" / "layout.h",
    "Payloads": PACKAGE / "events" / "payloads.h",
}
FUNCTION = re.compile(r"^static inline (?P<head>[^{;]+?\)) \{\n.*?^\}$", re.S | re.M)
TYPE = re.compile(r"^(?P<head>(?:struct|enum|union) (?P<name>\w+)) \{.*?\};$", re.S | re.M)
CALLBACK = re.compile(r"^typedef .*?\(\*(?P<name>\w+)\)\([^;]*;$", re.M | re.S)
COMMENT = re.compile(r"/\*(?P<text>(?:(?!\*/).)*)\*/\n\Z", re.S)
# Of the log's layout, what a handler reads; the rest is between the processes.
ENTRY_TYPES = {
    "mb_entry_flag",
    "mb_entry",
    "mb_vlan_tag",
    "mb_edit_field",
    "mb_edit",
    "mb_verdict",
}


def c() -> Iterator[str]:
    """The page."""
    yield from ("# C headers", "")
    yield "What an NF in C includes, `microbox/include/microbox_nf.h`, and what that brings."
    yield from ("[Writing an NF in C](../guide/c-nfs.md) shows it at work.", "")
    for title, header in HEADERS.items():
        yield from (f"## {title}", "", f"`microbox/{header.relative_to(PACKAGE)}`", "")
        yield from _declarations(header)


def _declarations(header: Path) -> Iterator[str]:
    text = header.read_text()
    found = [
        (one.start(), one) for kind in (FUNCTION, TYPE, CALLBACK) for one in kind.finditer(text)
    ]
    for start, one in sorted(found, key=lambda pair: pair[0]):
        groups = one.groupdict()
        if header.name == "layout.h" and groups.get("name") not in ENTRY_TYPES:
            continue
        if one.re is FUNCTION:
            declaration = " ".join(groups["head"].split())
            yield from (f"```{{c:function}} {declaration}", *_comment(text[:start]), "```", "")
        else:
            yield from (f"### {groups['name']}", "", *_comment(text[:start]))
            yield from ("```c", *one[0].splitlines(), "```", "")


def _comment(before: str) -> Iterator[str]:
    """The comment that ends where the declaration begins."""
    found = COMMENT.search(before)
    if found is None or "---" in found["text"]:
        return
    lines = (line.strip().removeprefix("*").strip() for line in found["text"].splitlines())
    yield from (*lines, "")
