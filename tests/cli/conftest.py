"""The command line as a user runs it: a process of its own, in an empty directory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from traffic import repeated

from microbox.testing import sample_capture
from tests.conftest import Workbench

WIDE = {"COLUMNS": "120", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Microbox = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands run, with a small capture in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample.pcap").write_bytes(sample_capture().read_bytes())
    for name, value in WIDE.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def microbox(folder: Path) -> Microbox:
    """Runs `microbox` with some arguments."""

    def run(*arguments: str | Path) -> Ran:
        script = Path(sys.executable).with_name("microbox")
        done = subprocess.run(
            [script, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


# --- a chain that runs, to look at ---

EXCHANGES = 3000  # in five minutes, at ten a second; the run is stopped long before

TELL = """
class Tell(NetworkFunction):
    declares = {"flow.told": {"word": "text", "number": "u32"}}
    publishes = ["flow.told"]
    @on("tcp.start")
    def tell(self, event):
        self.publish("flow.told", event, word="one \\x1b[31m", number=7)
"""
READ = """
class Read(NetworkFunction):
    declares = {"flow.told": {"word": "text", "number": "u32"}}
    @on("flow.told")
    def read(self, event): ...
"""


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Iterator[Workbench]:
    """A chain that runs, with an HTTP exchange each tenth of a second."""
    bench = Workbench(tmp_path_factory.mktemp("steady"))
    capture = repeated(sample, bench.folder / "steady.pcap", times=EXCHANGES, apart=0.1)
    nfs = [bench.nf("tell", TELL), bench.nf("read", READ), "http_log"]
    run = bench.start("run", bench.chain(*nfs, capture=capture), "--pace", "1")
    bench.until(lambda: run.poll() is not None or "packets" in bench.run("ps").stdout)
    yield bench
    bench.run("stop")
    result = bench.end(run)
    bench.clean_up()
    assert result.returncode == 128 + signal.SIGTERM, result.stderr
