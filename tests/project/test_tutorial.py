"""The tutorial begins with `make demo`, and all its commands are there from then on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OF_DEBIAN = {"head"}


def installed_by_make_demo() -> set[str]:
    extras = re.search(r'^demo\) extras="(.*)"', (ROOT / "tools" / "setup").read_text(), re.M)
    assert extras
    command = [sys.executable, ROOT / "tools" / "requirements.py", extras[1]]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    return {re.split("[<>=]", line)[0] for line in lines} | {"microbox"}


def test_make_demo_installs_what_it_calls() -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text()
    called = set(re.findall(r"^\$ (\S+)", tutorial, re.M))
    assert "pytest" in called
    assert called - OF_DEBIAN <= installed_by_make_demo()
