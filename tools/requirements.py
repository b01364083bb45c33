"""Prints what pyproject.toml requires, a line each: to build, to run, and for the extras named.

usage: requirements.py [EXTRA,EXTRA...]
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(extras: list[str]) -> list[str]:
    """Requirement strings, without repetitions, in the order of the file."""
    declared = tomllib.loads(PYPROJECT.read_text())
    lines = [*declared["build-system"]["requires"], *declared["project"]["dependencies"]]
    for extra in extras:
        lines += declared["project"]["optional-dependencies"][extra]
    return list(dict.fromkeys(lines))


if __name__ == "__main__":
    names = sys.argv[1] if len(sys.argv) > 1 else ""
    print("\n".join(requirements([name for name in names.split(",") if name])))
