"""Dependencies between the folders point one way: C includes and Python imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CORE = {"events", "io", "bus", "stack"}

# Folder → the folders of `microbox` that its files may name.
ARROWS: dict[str, set[str]] = {
    "events": set(),
    "io": set(),
    "bus": set(),
    "stack": {"events", "io", "bus"},
    "c_nf": {"events", "io", "bus"},
    "include": CORE | {"c_nf"},
    "ffi": CORE | {"include", "c_nf"},
    "channel": CORE | {"ffi"},
    "confine": {"channel"},
    "nf": CORE | {"ffi", "channel", "confine"},
    "chain": CORE | {"ffi", "channel", "nf"},
    "parsers": set(),
    "runtime": CORE | {"ffi", "channel", "confine", "nf", "chain", "parsers"},
    "api": CORE | {"ffi", "channel", "confine", "nf", "chain", "parsers", "runtime"},
    "testing": CORE | {"ffi", "channel", "nf", "chain", "runtime", "api"},
    "cli": CORE | {"ffi", "channel", "confine", "nf", "chain", "parsers", "runtime", "api"},
    "nfs": set(),
}

# Single files of another folder: the bus carries payloads, whose size it must know.
EXCEPTIONS = {
    ("bus", "microbox/events/payloads.h"),
    # The end of the input ends a batch, and an alert outlives the packet that it is about.
    ("bus", "microbox/events/event_types.h"),
}

# The same for the folders of the runtime among themselves. All of them may name the files that are
# about a run as a whole, which lie beside them.
RUNTIME_ARROWS: dict[str, set[str]] = {
    "processes": set(),
    "inputs": set(),
    "outputs": {"processes"},
    "control": {"processes"},
    "accounts": {"processes", "inputs", "outputs", "control"},
    "membership": {"processes", "control"},
    "failures": {"processes", "accounts", "membership"},
    "inspection": {"processes", "control", "accounts", "membership"},
}

# What every Python file may import: the public names of the package.
PUBLIC = "microbox"


@dataclass(frozen=True)
class Reference:
    """One include or import: `file` at `line` names `target`, which lies in `folder`."""

    file: Path
    line: int
    target: str
    folder: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.target}"


def includes(file: Path) -> Iterator[Reference]:
    for number, line in enumerate(file.read_text().splitlines(), 1):
        found = re.match(r'#include "(microbox/(\w+)/[^"]+)"', line)
        if found:
            yield Reference(file, number, found[1], found[2])


def imports(file: Path) -> Iterator[Reference]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            modules = [node.module]
            if node.module == PUBLIC:
                modules = [f"{PUBLIC}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            head, _, rest = module.partition(".")
            folder = rest.partition(".")[0]
            if head == PUBLIC and folder in ARROWS:
                yield Reference(file, node.lineno, module, folder)


def references(folder: Path) -> Iterator[Reference]:
    for file in sorted(folder.rglob("*")):
        if file.suffix in {".c", ".h", ".def"}:
            yield from includes(file)
        elif file.suffix == ".py":
            yield from imports(file)


def folder_path(name: str) -> Path:
    return ROOT / "nfs" if name == "nfs" else ROOT / "microbox" / name


@pytest.mark.parametrize("folder", ARROWS)
def test_a_folder_names_only_what_lies_below_it(folder: str) -> None:
    allowed = ARROWS[folder] | {folder}
    against_the_arrows = [
        f"{reference} (allowed: {', '.join(sorted(allowed))})"
        for reference in references(folder_path(folder))
        if reference.folder not in allowed and (folder, reference.target) not in EXCEPTIONS
    ]
    assert not against_the_arrows, "\n".join(against_the_arrows)


@pytest.mark.parametrize("folder", RUNTIME_ARROWS)
def test_a_folder_of_the_runtime_names_only_what_lies_below_it(folder: str) -> None:
    allowed = RUNTIME_ARROWS[folder] | {folder}
    against_the_arrows = [
        str(reference)
        for reference in references(ROOT / "microbox" / "runtime" / folder)
        if reference.folder == "runtime"
        and (named := reference.target.split(".")[2]) in RUNTIME_ARROWS
        and named not in allowed
    ]
    assert not against_the_arrows, "\n".join(against_the_arrows)


def folders_of(path: Path) -> set[str]:
    return {path.name for path in path.iterdir() if path.is_dir()} - {"__pycache__"}


def test_every_folder_has_its_place() -> None:
    assert folders_of(ROOT / "microbox") <= set(ARROWS)
    assert folders_of(ROOT / "microbox" / "runtime") <= set(RUNTIME_ARROWS)


def test_an_include_against_the_arrows_is_found(tmp_path: Path) -> None:
    file = tmp_path / "log.c"
    file.write_text('#include <stdint.h>\n#include "microbox/stack/stack.h"\n')
    assert [(found.line, found.folder) for found in includes(file)] == [(2, "stack")]


def test_an_import_against_the_arrows_is_found(tmp_path: Path) -> None:
    file = tmp_path / "load.py"
    file.write_text("import json\n\ndef late():\n    from microbox.runtime import report\n")
    assert [(found.line, found.folder) for found in imports(file)] == [(4, "runtime")]
