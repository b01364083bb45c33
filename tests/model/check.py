"""Explores the model of the bus, bus.pml, with spin: each shape in all its states, and each mutant
until spin finds what is wrong with it. A mutant that passes is a failure: then the model proves
nothing about the order that it breaks.

    python check.py [NAME...]      all, or the shapes and mutants of these names
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODEL = Path(__file__).with_name("bus.pml")

SHAPES = {
    "alone": "NFS=1 SLOTS=2 EVENTS=4 BATCH=2",
    "parallel": "NFS=2 SLOTS=1 EVENTS=3",
    "judge": "NFS=2 SLOTS=1 EVENTS=3 JUDGE",
    "publish": "NFS=2 SLOTS=2 EVENTS=3 PUBLISH",
    "skip": "NFS=1 SLOTS=2 EVENTS=4 SKIP",
    "skip beside one that holds": "NFS=2 SLOTS=1 EVENTS=2 SKIP",
    "skip behind a judge": "NFS=2 SLOTS=1 EVENTS=2 SKIP JUDGE",
    "death": "NFS=2 SLOTS=1 EVENTS=2 JUDGE DEATH",
}

MUTANTS = {  # what is done in another order, or left out, in which shape
    "HEAD_BEFORE_DUE": "judge",
    "FROM_AFTER_HEAD": "parallel",
    "FROM_IGNORED": "parallel",
    "WAKE_BEFORE_HEAD": "parallel",
    "WAKE_BEFORE_CURSOR": "parallel",
    "SLEEPER_LOOKS_FIRST": "parallel",
    "WORKER_LOOKS_ONCE": "parallel",
    "SLOWEST_FORGOTTEN": "parallel",
    "DUE_BEFORE_HEAD_READ": "judge",
    "CURSOR_BEFORE_VERDICT": "judge",
    "GATE_AFTER_COMMIT": "judge",
    "CURSOR_BEFORE_LOG_HEAD": "publish",
    "VISIBLE_BEFORE_CURSOR": "publish",
    "FREED_TOO_EARLY": "publish",
    "FLOOR_AFTER_OVERWRITE": "skip",
    "FLOOR_UNCHECKED": "skip",
    "COUNT_UNCHECKED": "skip",
    "DUE_BEFORE_GONE_AT": "death",
    "GONE_AT_READ_FIRST": "death",
}

COMPILE = ["cc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=4096", "-DMEMLIM=3000"]
DEPTH = 1_000_000
TIMEOUT = 600  # seconds for one of them


def explore(defines: str) -> str:
    """What spin says of the model in this shape."""
    with tempfile.TemporaryDirectory() as folder:
        shape = [f"-D{one}" for one in defines.split()]
        run(["spin", "-a", *shape, str(MODEL)], folder)
        run([*COMPILE, "-o", "pan", "pan.c"], folder)
        return run(["./pan", f"-m{DEPTH}"], folder)


def run(command: list[str], folder: str) -> str:
    """The output of a command, which has to succeed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def violation(output: str) -> str:
    """What is wrong, in spin's words; "" where every state was visited and all is well."""
    found = re.search(r"^pan:1: (.*?)(?: \(at depth .*)?$", output, re.MULTILINE)
    if found:
        return found[1]
    is_complete = "errors: 0" in output and "max search depth too small" not in output
    return "" if is_complete else f"the search did not end:\n{output}"


def check_shape(name: str) -> tuple[bool, str]:
    """Whether nothing is wrong in any state, and a line about it."""
    output = explore(SHAPES[name])
    wrong = violation(output)
    states = re.search(r"(\d+) states, stored", output)
    return not wrong, f"{name}: {wrong or f'{int(states[1]) if states else 0:,} states'}"


def check_mutant(name: str) -> tuple[bool, str]:
    """Whether spin finds what is wrong with it, and a line about it."""
    wrong = violation(explore(f"{SHAPES[MUTANTS[name]]} {name}"))
    return bool(wrong), f"{name}: {wrong or 'NOT CAUGHT'}"


def main(names: list[str]) -> int:
    """The exit status."""
    checks = dict.fromkeys(SHAPES, check_shape) | dict.fromkeys(MUTANTS, check_mutant)
    with ThreadPoolExecutor(2) as pool:
        chosen = names or list(checks)
        failed = 0
        for is_well, line in pool.map(lambda name: checks[name](name), chosen):
            failed += not is_well
            print(f"model: {line}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
