"""Confines the compiler of an NF in C: what the file tells it to take in is not trusted.

It reads what compilers read and the folder of the NF, and writes where it is told to. It runs as
the user who runs the chain; that user's other files are out of reach.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from microbox._core import lib
from microbox.confine.confinement import make_ruleset
from microbox.confine.domain import CHANGE, CHANGE_TREE, TREE, Rule

TOOLS = ("/usr", "/opt", "/bin", "/lib", "/lib32", "/lib64", "/etc/alternatives")
PROGRAMS = TREE | lib.MB_FILE_EXECUTE


def compiler_domain(compiler: Path, reads: list[Path], folder: Path) -> Callable[[], None] | None:
    """What the compiler's process is to call before it becomes the compiler; None where the kernel
    has no Landlock. `reads`: directories of sources; in `folder` it works. Raises ConfinementError.
    """
    ruleset = make_ruleset(_rules(compiler, reads, folder), network=False)
    if ruleset is None:
        return None

    def enter() -> None:
        for result in (lib.mb_renounce_privileges(), lib.mb_landlock_enter(ruleset)):
            if result < 0:
                raise OSError(-result, os.strerror(-result))

    return enter


def _rules(compiler: Path, reads: list[Path], folder: Path) -> Iterator[Rule]:
    for path in (*TOOLS, str(compiler.resolve().parent)):
        if Path(path).exists():
            yield Rule(path, PROGRAMS)
    for path in ("/etc/ld.so.cache", *map(str, reads)):
        if Path(path).exists():
            yield Rule(path, TREE)
    yield Rule(str(folder), CHANGE_TREE)
    yield Rule("/dev/null", CHANGE)
