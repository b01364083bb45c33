"""What lies in the tree is installed, is ours to give, and belongs to no particular machine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BUILT = {".git", ".venv", ".hypothesis", "build", "__pycache__", "_build"}
TEXT = {".py", ".c", ".h", ".def", ".md", ".toml", ".build", ".yaml", ".yml", ".options", ""}


def tree() -> Iterator[Path]:
    """Files of the checkout without what was built or recorded."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        is_ours = not any(
            part in BUILT or re.match(r"build-|microbox-logs|\.\w+_cache", part) for part in parts
        )
        if path.is_file() and is_ours:
            yield path


def packaged(suffixes: set[str]) -> list[Path]:
    folders = (ROOT / "microbox", ROOT / "nfs")
    return [
        path
        for path in tree()
        if path.suffix in suffixes and any(f in path.parents for f in folders)
    ]


@pytest.mark.parametrize("path", packaged({".py"}), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_the_package_is_installed(path: Path) -> None:
    assert listed(path), (
        f"{path.relative_to(ROOT)} is in no install_sources of {path.parent.name}/meson.build"
    )


@pytest.mark.parametrize("path", packaged({".c"}), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_c_file_of_the_package_is_compiled(path: Path) -> None:
    assert listed(path), f"{path.relative_to(ROOT)} is not in {path.parent.name}/meson.build"


@pytest.mark.parametrize("path", packaged({".h"}), ids=lambda path: str(path.relative_to(ROOT)))
def test_an_installed_header_includes_only_installed_ones(path: Path) -> None:
    if not listed(path):
        return
    included = re.findall(r'^#include "(microbox/[^"]+)"', path.read_text(), re.M)
    missing = [name for name in included if not listed(ROOT / name)]
    assert not missing, f"{path.relative_to(ROOT)} needs {', '.join(missing)}, not installed"


def listed(path: Path) -> bool:
    """True where the meson.build of its folder, or of one above, names the file."""
    for folder in path.parents:
        name = path.relative_to(folder).as_posix()
        build = folder / "meson.build"
        if build.exists() and f"'{name}'" in build.read_text():
            return True
        if folder == ROOT:
            return False
    return False


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: '{version}'" in (ROOT / "meson.build").read_text()


def test_no_file_names_a_place_of_one_machine() -> None:
    places = re.compile(
        "|".join(rf"(?<![\w.]){place}/\w" for place in ("/root", "/home", "/work", "/Users"))
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tree()
        if path.suffix in TEXT
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if places.search(line)
    ]
    assert not found, "\n".join(found)
