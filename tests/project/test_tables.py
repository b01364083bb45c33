"""The tables say no more than the code does: each row is used."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "microbox" / "events"


def rows(path: Path, macro: str, columns: int) -> list[list[str]]:
    """First columns of each row."""
    pattern = rf"^{macro}\(" + r",\s*".join([r"([^,]+)"] * columns)
    return [
        list(found) if columns > 1 else [found]
        for found in re.findall(pattern, path.read_text(), re.M)
    ]


@cache
def text_of(folder: str, *suffixes: str) -> str:
    """All source text below `folder`, the declaring folder `events` left out."""
    files = sorted((ROOT / folder).rglob("*"))
    return "\n".join(
        path.read_text() for path in files if path.suffix in suffixes and EVENTS not in path.parents
    )


TYPES = rows(EVENTS / "types.def", "EVENT", 5)
REASONS = rows(EVENTS / "reasons.def", "REASON", 1)
COUNTERS = rows(ROOT / "microbox" / "stack" / "counters.def", "COUNTER", 1)


@pytest.mark.parametrize(
    ("symbol", "name", "producer"), [(t[0], t[1].strip('"'), t[4]) for t in TYPES]
)
def test_an_event_type_is_published_by_its_producer(symbol: str, name: str, producer: str) -> None:
    if producer in {"abstract", "nf"}:
        return
    if producer.startswith("parser_"):
        parser = ROOT / "microbox" / "parsers" / f"{producer.removeprefix('parser_')}.py"
        suffixes = [".".join(name.split(".")[start:]) for start in range(name.count(".") + 1)]
        assert any(f'"{suffix}"' in parser.read_text() for suffix in suffixes), (
            f"{parser} does not publish {name}"
        )
        return
    assert is_named(f"MB_TYPE_{symbol}", "microbox", ".c", ".h"), f"nobody publishes {name}"


@pytest.mark.parametrize("symbol", [row[0] for row in REASONS])
def test_a_reason_is_given_somewhere(symbol: str) -> None:
    assert is_named(f"MB_REASON_{symbol}", "microbox", ".c", ".h", ".py"), f"nothing gives {symbol}"


@pytest.mark.parametrize("field", [row[0] for row in COUNTERS])
def test_a_counter_is_counted(field: str) -> None:
    counted = rf"(\.|->){field}\s*(\+\+|\+=|-=|--|=[^=])|(\+\+|--)[\w.>-]+(\.|->){field}\b"
    is_counted = re.search(counted, text_of("microbox/stack", ".c", ".h")) is not None
    assert is_counted, f"nothing counts {field}"


def is_named(word: str, folder: str, *suffixes: str) -> bool:
    return re.search(rf"\b{word}\b", text_of(folder, *suffixes)) is not None
