"""Descriptors, processes or memory run out at the start: it is said which, and nothing is left."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import WAITING, let_it_go_on, wait_until_it_waits

from tests.conftest import Workbench

NFS = 6
COUNT = """
class Count(NetworkFunction):
    @on("packet")
    def see(self, event):
        pass
"""
LIVE_PROCESSES = Path("/sys/fs/cgroup/pids")  # of the first version; in the second all is in one
UNIFIED = Path("/sys/fs/cgroup")


@pytest.fixture
def chain(workbench: Workbench) -> Path:
    return workbench.chain(*nfs_of(workbench))


def nfs_of(workbench: Workbench) -> list[str]:
    return [workbench.nf(f"count_{number}", COUNT) for number in range(NFS)]


def run_limited(workbench: Workbench, chain: Path, limit: str) -> subprocess.CompletedProcess[str]:
    """`microbox run`, in a shell that has said `limit`."""
    result = workbench.run("run", chain, prefix=["sh", "-c", f'{limit} && exec "$@"', "sh"])
    assert workbench.processes() == {}
    return result


def test_too_few_descriptors_are_told_before_anything_starts(
    workbench: Workbench, chain: Path
) -> None:
    result = run_limited(workbench, chain, "ulimit -n 64")
    assert result.returncode == 1
    assert result.stderr == (
        "error: 6 NFs take up to 142 open files, but no more than 64 are allowed; raise the limit: "
        "ulimit -n 142\n"
    )


def test_a_limit_that_may_be_raised_is_raised(workbench: Workbench) -> None:
    """As far as is needed for who asks the run something, too."""
    chain = workbench.chain(workbench.nf("waiting", WAITING))
    limited = ["sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh"]
    run = workbench.start("run", chain, prefix=limited)
    wait_until_it_waits(workbench)
    assert "replay" in workbench.run("ps").stdout
    let_it_go_on(workbench)
    result = workbench.end(run)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="sanitizers need address space without end"
)
def test_too_little_memory_for_the_flows_is_told(workbench: Workbench) -> None:
    chain = workbench.chain(*nfs_of(workbench), stack={"flows_max": 60_000_000})
    result = run_limited(workbench, chain, "ulimit -v 2000000")
    assert result.returncode == 1
    assert "no memory for 60000000 flows: Cannot allocate memory" in result.stderr


@pytest.fixture
def processes() -> Iterator[Callable[[int], str]]:
    """Makes a limit to how many processes and threads there may be."""
    for place in (LIVE_PROCESSES, UNIFIED):
        group = place / f"microbox-{os.getpid()}"
        try:
            group.mkdir()
            (group / "pids.max").write_text("max")
            break
        except OSError:
            if group.exists():
                group.rmdir()
    else:
        pytest.skip("processes cannot be limited here: no control group for them can be made")

    def limit(most: int) -> str:
        (group / "pids.max").write_text(str(most))
        return f"echo $$ > {group}/cgroup.procs"

    yield limit
    group.rmdir()


def test_too_few_processes_are_told_whoever_it_is_that_cannot_start(
    workbench: Workbench, chain: Path, processes: Callable[[int], str]
) -> None:
    result = run_limited(workbench, chain, processes(4))
    assert result.returncode == 1
    assert re.fullmatch(
        r"error: the chain does not start: count_\d cannot be started: Resource temporarily "
        r"unavailable\n",
        result.stderr,
    )


@pytest.mark.parametrize("spare", [1, 2])
def test_a_run_that_has_no_threads_left_goes_on_without_a_control_socket(
    workbench: Workbench, chain: Path, processes: Callable[[int], str], spare: int
) -> None:
    result = run_limited(workbench, chain, processes(NFS + len(["controller", "worker"]) + spare))
    assert result.returncode == 0, result.stderr
    assert "no control socket: can't start new thread" in result.stderr
