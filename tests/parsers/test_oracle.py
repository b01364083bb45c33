"""The parsers against tshark, on the corpus of real captures where it is beside the checkout.

Requests, statuses, questions and server names of every capture have to equal what tshark found;
what deviates has to be explained in docs/parser-deviations.md, and nothing else may be there.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from microbox import Event, NetworkFunction, on
from microbox.testing import run_nf

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("MICROBOX_CORPUS", ROOT.parent / "shared" / "corpus"))
DEVIATIONS = ROOT / "docs" / "parser-deviations.md"
ORACLE = CORPUS / "oracle.json"

pytestmark = [
    pytest.mark.skipif(not ORACLE.is_file(), reason=f"no corpus in {CORPUS}: see MICROBOX_CORPUS"),
    pytest.mark.timeout(400),
]

Found = dict[str, Counter[Any]]


class Collector(NetworkFunction):
    """Keep what the parsers publish."""

    def start(self) -> None:
        self.found: Found = {
            kind: Counter() for kind in ("requests", "statuses", "questions", "server names")
        }

    @on("http.request")
    def request(self, event: Event) -> None:
        self.found["requests"][event.method, event.host, event.target] += 1

    @on("http.response")
    def response(self, event: Event) -> None:
        self.found["statuses"][str(event.status)] += 1

    @on("dns.query", filter="udp")
    def question(self, event: Event) -> None:
        self.found["questions"][event.question, str(event.question_type)] += 1

    @on("tls.client_hello")
    def hello(self, event: Event) -> None:
        if event.server_name:
            self.found["server names"][event.server_name] += 1


def each(rows: list[list[str]]) -> Iterator[tuple[str, ...]]:
    """The oracle joins what stands several times in one packet."""
    for row in rows:
        columns = [column.split("\x1f") for column in row]
        yield from itertools.zip_longest(*columns, fillvalue="")


def by_tshark(facts: dict[str, Any]) -> Found:
    return {
        "requests": Counter(each(facts["http_requests"])),
        "statuses": Counter(
            status for (status,) in each([[one] for one in facts["http_statuses"]])
        ),
        # An event has the first question of its message.
        "questions": Counter(
            (name.split("\x1f")[0].replace("<Root>", "."), kind.split("\x1f")[0])
            for name, kind in facts["dns_queries"]
        ),
        "server names": Counter(name for (name,) in each([[one] for one in facts["sni"]])),
    }


def deviations() -> set[str]:
    oracle = json.loads(ORACLE.read_text())
    found = set()
    for capture in sorted((CORPUS / "dev").iterdir()):
        nf = run_nf(Collector, capture).nf
        assert isinstance(nf, Collector)
        theirs = by_tshark(oracle[capture.name])
        found |= {f"{capture.name}: {kind}" for kind in theirs if nf.found[kind] != theirs[kind]}
    return found


def explained() -> set[str]:
    """Rows of the table: capture, what differs (joined by commas), why."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| \S[^|]* \|$", DEVIATIONS.read_text(), re.M)
    return {f"{capture}: {kind.strip()}" for capture, kinds in rows for kind in kinds.split(",")}


def test_every_deviation_is_explained_and_nothing_else() -> None:
    assert sorted(deviations()) == sorted(explained())
