"""The pytest plugin, which is there wherever microbox is installed. It loads nothing before a test
asks for one of its fixtures.

    from microbox.testing import tcp

    def test_telnet_is_refused(run_nf):
        result = run_nf("block_telnet.py", tcp("10.0.0.1:1234", "10.0.0.2:23"))
        assert result.alerts[0].message == "telnet refused"

When a test fails, its report says what each run of the test gave, and where the packets are that a
flow was made of, as a capture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from microbox.testing import Input, Result

RUNS = pytest.StashKey[list[str]]()
LINES_SHOWN = 5


@pytest.fixture
def run_nf(
    request: pytest.FixtureRequest, write_capture: Callable[[Input], Path]
) -> Callable[..., Result]:
    """`microbox.testing.run_nf`; what it gives is part of the report of a test that fails."""
    from microbox.testing import run_nf as run

    runs = request.node.stash.setdefault(RUNS, [])

    def run_and_note(nf: Any, capture: Input, **options: Any) -> Result:
        path = write_capture(capture)
        runs.append(f"{_name(nf)} over {path}: no result")
        result = run(nf, path, **options)
        runs[-1] = f"{_name(nf)} over {path}:\n{described(result)}"
        return result

    return run_and_note


@pytest.fixture
def write_capture(tmp_path: Path) -> Callable[[Input], Path]:
    """`write_capture(flow)`: the path of a capture of flows or traffic, in the test's directory."""
    from microbox.testing import traffic_of

    def write(packets: Input) -> Path:
        if isinstance(packets, str | Path):
            return Path(packets)
        number = len(list(tmp_path.glob("traffic-*.pcap"))) + 1
        return traffic_of(packets).write(tmp_path / f"traffic-{number}.pcap")

    return write


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Adds what the runs gave to the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    runs = item.stash.get(RUNS, [])
    if report.when == "call" and report.failed and runs:
        report.sections.append(("microbox", "\n\n".join(runs)))


def _name(nf: Any) -> str:
    if isinstance(nf, list | tuple):
        return ", ".join(map(_name, nf))
    return nf.__name__ if isinstance(nf, type) else str(nf)


def described(result: Result) -> str:
    """What a run gave, for people."""
    counters = result.counters
    lines = [f"packets: {counters['packets']} came, {len(result.output)} left"]
    verdicts = ", ".join(f"{one.name} {count}" for one, count in result.verdicts.items())
    lines.append(f"verdicts: {verdicts or 'none but PASS'}")
    for what, values in (
        ("alerts", [one.message for one in result.alerts]),
        ("records", result.records),
        ("published", [f"{one.name} {dict(one.fields)}" for one in result.published]),
        ("observed", result.observed),
        ("problems", [one.error for one in result.problems]),
    ):
        lines += _listed(what, values)
    if result.summary:
        lines.append(f"summary: {dict(result.summary)}")
    return "\n".join(f"  {line}" for line in lines)


def _listed(what: str, values: list[Any]) -> list[str]:
    if not values:
        return []
    lines = [f"{what}: {len(values)}", *(f"  {value}" for value in values[:LINES_SHOWN])]
    return lines if len(values) <= LINES_SHOWN else [*lines, "  …"]
