"""Runs the benchmarks several times and prints the medians, beside what was aimed at.

    run.py --build DIRECTORY [--runs N] [--only TEXT] [--json]

What a benchmark is and prints: README.md, here.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
TIMEOUT = 120  # seconds a program


@dataclass(frozen=True)
class Sample:
    """One line that a program printed."""

    measure: str
    value: float
    unit: str
    what: str = ""
    goal: float | None = None
    most: float | None = None
    reference: float | None = None
    reference_name: str = ""
    goal_ratio: float | None = None


@dataclass(frozen=True)
class Result:
    """Medians over the runs of one measure."""

    measure: str
    what: str
    unit: str
    runs: int
    value: float
    lowest: float
    highest: float
    goal: float | None
    most: float | None
    ratio: float | None
    reference_name: str
    goal_ratio: float | None

    @property
    def is_reached(self) -> bool:
        """True where no goal is missed."""
        value_is = self.goal is None or self.value >= self.goal
        small_is = self.most is None or self.value <= self.most
        ratio_is = self.goal_ratio is None or self.ratio is None or self.ratio >= self.goal_ratio
        return value_is and small_is and ratio_is


def programs(build: Path) -> Iterator[list[str]]:
    """Command lines: the C programs that were built, then the Python ones."""
    for source in sorted(HERE.glob("*.c")):
        program = build / "benchmarks" / source.stem
        if os.access(program, os.X_OK):
            yield [str(program)]
    for source in sorted(HERE.glob("*.py")):
        if source.name not in {"run.py", "work.py"}:
            yield [sys.executable, str(source)]


def run(command: list[str]) -> list[Sample]:
    """The samples of one run."""
    name = Path(command[-1]).stem
    try:
        output = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT
        ).stdout
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench: {name} failed with status {error.returncode}\n{error.stderr}")
    except subprocess.TimeoutExpired:
        sys.exit(f"bench: {name} did not end within {TIMEOUT} s")
    return [Sample(**json.loads(line)) for line in output.splitlines() if line.startswith("{")]


def summed_up(samples: list[Sample]) -> Result:
    """Medians of one measure. The ratio is the median of the runs' own ratios."""
    first = samples[0]
    values = [sample.value for sample in samples]
    ratios = [sample.value / sample.reference for sample in samples if sample.reference]
    return Result(
        measure=first.measure,
        what=first.what,
        unit=first.unit,
        runs=len(samples),
        value=statistics.median(values),
        lowest=min(values),
        highest=max(values),
        goal=first.goal,
        most=first.most,
        ratio=statistics.median(ratios) if ratios else None,
        reference_name=first.reference_name,
        goal_ratio=first.goal_ratio,
    )


def measure(commands: Iterable[list[str]], runs: int, note: Console) -> list[Result]:
    """Runs each program `runs` times; results in the order in which they were first printed."""
    samples: dict[str, list[Sample]] = {}
    for command in commands:
        for number in range(runs):
            note.print(f"bench: {Path(command[-1]).stem}, run {number + 1} of {runs}", style="dim")
            for sample in run(command):
                samples.setdefault(sample.measure, []).append(sample)
    return [summed_up(of_one) for of_one in samples.values()]


def table(results: list[Result]) -> Table:
    """The results for people."""
    shown = Table(title="median of the runs (lowest to highest)", title_justify="left")
    shown.add_column("measure")
    shown.add_column("what")
    shown.add_column("median", justify="right")
    shown.add_column("range", justify="right")
    shown.add_column("goal", justify="right")
    shown.add_column("beside")
    for result in results:
        style = "" if result.is_reached else "yellow"
        shown.add_row(
            result.measure,
            result.what,
            f"{result.value:,.2f} {result.unit}",
            f"{result.lowest:,.2f} - {result.highest:,.2f}",
            aim(result),
            beside(result),
            style=style,
        )
    return shown


def aim(result: Result) -> str:
    """What the value should reach, or stay under. A goal of 0 is none."""
    if result.most is not None:
        return f"at most {result.most:,.0f}"
    return f"{result.goal:,.2f}" if result.goal else ""


def beside(result: Result) -> str:
    """The ratio to the reference, and the ratio that was aimed at."""
    if result.ratio is None:
        return ""
    goal = "" if result.goal_ratio is None else f" (goal {result.goal_ratio:.2f})"
    return f"{result.ratio:.2f} of {result.reference_name}{goal}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True, help="where the C programs are built")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="programs whose name contains this")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    # Where benchmarks in Python find programs that they need beside them.
    os.environ["BENCHMARKS_BUILD"] = str(arguments.build.resolve() / "benchmarks")
    os.environ["BENCHMARKS_BUILD"] = str(arguments.build / "benchmarks")
    chosen = [c for c in programs(arguments.build) if arguments.only in Path(c[-1]).stem]
    results = measure(chosen, arguments.runs, Console(stderr=True))
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    Console(width=None if sys.stdout.isatty() else 160).print(table(results))


if __name__ == "__main__":
    main()
