"""docs/bus-protocol.md, the model and the C code speak of the same invariants and mutants."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "bus-protocol.md").read_text()
MODEL = (ROOT / "tests" / "model" / "bus.pml").read_text()
CHECK = (ROOT / "tests" / "model" / "check.py").read_text()
SOURCES = {
    path.name: path.read_text()
    for folder in ("bus", "stack")
    for path in ROOT.glob(f"microbox/{folder}/*.c")
}

ROWS = [line.split(" | ") for line in DOCUMENT.splitlines() if line.startswith("| `")]
INVARIANTS = [row for row in ROWS if len(row) == 4]
NAMES = [name for row in INVARIANTS for name in re.findall(r"`(\w+)`", row[0])]


def test_the_document_names_invariants() -> None:
    assert "intact" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_invariant_is_asserted_in_the_model_and_named_in_the_code(name: str) -> None:
    assert re.search(rf"assert\(.*/\* {name} \*/", MODEL), f"nothing in the model asserts {name}"
    assert any(f"`{name}`" in text for text in SOURCES.values()), f"no C function names {name}"


@pytest.mark.parametrize("row", INVARIANTS, ids=lambda row: row[0])
def test_the_functions_that_keep_an_invariant_are_there(row: list[str]) -> None:
    file = ""
    for word in re.findall(r"`([\w/.]+)`", row[2]):
        if word.endswith((".c", ".h")):
            file = Path(word).name
            continue
        assert re.search(rf"\b{word}\(", SOURCES[file]), f"{file} has no function {word}"


def test_each_mutant_is_in_document_model_and_check() -> None:
    mutants = set(re.findall(r'"([A-Z_]+)": "', CHECK))
    assert mutants == {
        word
        for row in [*INVARIANTS, DOCUMENT.split("no deadlock")[1].split("\n")[0].split(" | ")]
        for word in re.findall(r"`([A-Z_]+)`", row[-1])
    }
    assert all(re.search(rf"(def |defined\(){mutant}\b", MODEL) for mutant in mutants)
