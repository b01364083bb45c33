"""The captures of the repository, and tshark as a witness of what is in them."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

Tshark = Callable[..., list[tuple[str, ...]]]

# Segments that come late are put in their place, as a receiver does.
OPTIONS = ["-n", "-o", "tcp.reassemble_out_of_order:TRUE", "-o", "tcp.check_checksum:FALSE"]


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
