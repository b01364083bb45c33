"""What many tests share: the captures, tshark as a witness of what is in them, and a workbench
that runs whole chains with real files and processes."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

Tshark = Callable[..., list[tuple[str, ...]]]

# Segments that come late are put in their place, as a receiver does.
OPTIONS = ["-n", "-o", "tcp.reassemble_out_of_order:TRUE", "-o", "tcp.check_checksum:FALSE"]


def pytest_configure() -> None:
    """Where the tests run in a shell's background, SIGINT is ignored, and so it would be in each
    process that they start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def demo() -> Path:
    """Ten thousand packets of real programs: captures/README.md says which."""
    return ROOT / "captures" / "demo.pcap"


@pytest.fixture(scope="session")
def sample() -> Path:
    """One lookup and one HTTP exchange."""
    return ROOT / "captures" / "sample.pcap"


@pytest.fixture(scope="session")
def tshark() -> Tshark:
    """`tshark(capture, filter, *fields)`: a row for each time that the fields occur."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")

    def fields(capture: Path, wanted: str, *names: str) -> list[tuple[str, ...]]:
        command = ["tshark", "-r", str(capture), *OPTIONS, "-Y", wanted, "-T", "fields"]
        if "communityid" in names:
            command += ["--enable-protocol", "communityid"]
        command += ["-E", "separator=/t", "-E", "aggregator=\x1f"]
        for name in names:
            command += ["-e", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows = []
        for line in output.splitlines():
            # A packet with several messages has several values a field.
            columns = (column.split("\x1f") for column in line.split("\t"))
            rows += list(itertools.zip_longest(*columns, fillvalue=""))
        return rows

    return fields


# --- whole chains ---

MICROBOX = Path(sys.executable).with_name("microbox")
WORKER_MODULE = "microbox.runtime.processes.worker_process"
NF_PRELUDE = "import os, signal, sys, time\nfrom microbox import NetworkFunction, on, every\n"


@dataclass
class Workbench:
    """A folder with a chain, its NFs and its logs, and the processes that it runs."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def nf(self, name: str, code: str) -> str:
        """Writes an NF's file; what to write into the chain for it."""
        (self.folder / f"{name}.py").write_text(NF_PRELUDE + code)
        return f"./{name}.py"

    def chain(
        self, *entries: Any, capture: Path = ROOT / "captures" / "sample.pcap", **keys: Any
    ) -> Path:
        """Writes chain.yaml (JSON is YAML too). NFs may write into the folder unless `sandbox` is
        among the keys."""
        keys.setdefault("sandbox", {"writes": ["./"]})
        path = self.folder / "chain.yaml"
        path.write_text(json.dumps({"input": str(capture), "chain": list(entries), **keys}))
        return path

    def start(
        self,
        *arguments: object,
        prefix: Sequence[object] = (),
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Starts `microbox` with these arguments in the folder, by way of `prefix`."""
        process = subprocess.Popen(
            [*map(str, prefix), str(MICROBOX), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def start_in_terminal(
        self, *arguments: object, prefix: Sequence[object] = ()
    ) -> tuple[subprocess.Popen[str], int]:
        """As `start`, with a terminal of its own, which is closed with the descriptor."""
        master, slave = os.openpty()
        process = self.start(*arguments, prefix=["setsid", "--ctty", *prefix], stdin=slave)
        os.close(slave)
        return process, master

    def run(
        self, *arguments: object, prefix: Sequence[object] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Runs `microbox` with these arguments to its end."""
        return self.end(self.start(*arguments, prefix=prefix))

    def end(
        self, process: subprocess.Popen[str], timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Waits for a process that `start` started."""
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def log(self, name: str, directory: str = "microbox-logs") -> list[dict[str, Any]]:
        """The records of an NF's log."""
        text = (self.folder / directory / f"{name}.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def summary(self, directory: str = "microbox-logs") -> dict[str, Any]:
        """The report that a run left beside its logs."""
        report: dict[str, Any] = json.loads((self.folder / directory / "summary.json").read_text())
        return report

    def processes(self) -> dict[int, str]:
        """Command lines of all living processes that this workbench's runs are or left behind."""
        mark = f"MICROBOX_TEST={self.folder}\0".encode()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes() + b"\0":
                    found[int(process.name)] = (process / "cmdline").read_text()
            except OSError:
                continue
        return found

    def worker(self) -> int:
        """The process number of the worker that runs."""
        return next(number for number, line in self.processes().items() if WORKER_MODULE in line)

    def wait_for(self, file: Path, timeout: float = 30) -> str:
        """The text of a file that an NF is to write, once it is there and not empty."""
        return str(self.until(lambda: file.read_text() if file.exists() else "", timeout))

    def until(self, look: Callable[[], Any], timeout: float = 30) -> Any:
        """What `look` gives, as soon as it is true."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.02)
        raise AssertionError("it did not happen in time")

    def environment(self) -> dict[str, str]:
        """Of its processes."""
        return {
            **os.environ,
            "XDG_RUNTIME_DIR": str(self.folder),
            "MICROBOX_TEST": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def clean_up(self) -> None:
        """Ends what a failed test left."""
        for process in self.started:
            process.kill()
            process.wait()
        for number in self.processes():
            os.kill(number, signal.SIGKILL)


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path)
    yield bench
    bench.clean_up()
