"""Which file an entry of a chain means. No NF is loaded here."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from pathlib import Path

from microbox.nf.shared_object import SUFFIXES

BUILT_IN_PACKAGE = "microbox.nfs"
PARSERS_PACKAGE = "microbox.parsers"
PATH_SUFFIXES = (".py", *SUFFIXES)
"""What an entry with such an end names is a file."""


def is_path(written: str) -> bool:
    """True where an entry names a file rather than a built-in NF."""
    return "/" in written or written.endswith(PATH_SUFFIXES)


def built_in_source(name: str, package: str = BUILT_IN_PACKAGE) -> Path | None:
    """The file of a built-in NF (or, from its package, a parser); None where there is none."""
    if name not in built_in_names(package):
        return None
    found = importlib.util.find_spec(f"{package}.{name}")
    return Path(found.origin) if found and found.origin else None


def built_in_names(package: str = BUILT_IN_PACKAGE) -> list[str]:
    """Names of all built-in NFs, sorted."""
    found = importlib.util.find_spec(package)
    locations = found.submodule_search_locations if found else None
    modules = pkgutil.iter_modules(locations or [])
    return sorted(one.name for one in modules if not one.name.startswith("_"))


def no_built_in(name: str) -> str:
    """What is said of an entry that names neither a built-in NF nor a path."""
    return (
        f"no built-in NF is called '{name}'; expected a name that `microbox nfs` lists, "
        "or a path such as ./my_nf.py"
    )


def syntax_error_of(source: Path) -> SyntaxError | None:
    """What keeps the file from being Python, found without running it. Raises OSError."""
    try:
        ast.parse(source.read_bytes(), filename=str(source))
    except SyntaxError as error:
        return error
    except ValueError as error:  # null bytes
        return SyntaxError(str(error), (str(source), 1, 1, None))
    return None


def string_position(source: Path, function: str, text: str, line: int) -> tuple[int, int]:
    """Where `text` stands in the decorators of `function`, whose declaration is near `line`.

    Line and column from 1; (line, 1) where it cannot be found (the text may be computed).
    """
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return line, 1
    found = [
        (constant.lineno, constant.col_offset + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == function
        for decorator in node.decorator_list
        for constant in ast.walk(decorator)
        if isinstance(constant, ast.Constant) and _is_same(constant.value, text)
    ]
    return min(found, key=lambda place: abs(place[0] - line), default=(line, 1))


def text_position(source: Path, text: str, line: int) -> tuple[int, int]:
    """Where `text` stands among a module's texts, nearest to `line`: its first character.

    Line and column from 1; (line, 1) where it cannot be found (the text may be computed).
    """
    try:
        content = source.read_text(encoding="utf-8")
        tree = ast.parse(content)
    except (OSError, SyntaxError, ValueError):
        return line, 1
    lines = content.splitlines()
    found = [
        _inside_quotes(lines, node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value == text
    ]
    return min(found, key=lambda place: abs(place[0] - line), default=(line, 1))


def _inside_quotes(lines: list[str], node: ast.Constant) -> tuple[int, int]:
    """The first character behind the prefix and the quotes, columns counted in characters."""
    line = lines[node.lineno - 1]
    before = line.encode()[: node.col_offset].decode()
    literal = line[len(before) :].lstrip("rRbBfFuU")
    prefix = len(line) - len(before) - len(literal)
    quotes = 3 if literal[:3] in ('"""', "'''") else 1
    return node.lineno, len(before) + prefix + quotes + 1


def _is_same(value: object, text: str) -> bool:
    """Filters are kept with single spaces, however they were written."""
    return isinstance(value, str) and value.split() == text.split()
