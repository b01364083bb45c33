"""The wheel, in a new environment, on a machine that has no compiler and no tools but Python.

`make wheel` builds it and says here where it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WHEEL = os.environ.get("MICROBOX_WHEEL", "")
COMPILERS = ("cc", "gcc", "clang", "c99", "meson", "ninja", "pkg-config")
CHAINS = [path.stem for path in sorted((ROOT / "configs").glob("*.yaml"))]

pytestmark = [
    pytest.mark.skipif(not WHEEL, reason="no wheel is named: make wheel"),
    pytest.mark.timeout(300),
]


@dataclass
class Installed:
    """The wheel in an environment of its own, and a folder with chains to run."""

    environment: Path
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs its `microbox`; nothing else of this machine is on the path."""
        programs = self.environment / "bin"
        return subprocess.run(
            [programs / "microbox", *arguments],
            cwd=self.folder,
            env={"PATH": str(programs), "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--only-binary", ":all:", WHEEL], check=True)
    for name in ("configs", "captures"):
        shutil.copytree(ROOT / name, folder / name)
    return Installed(environment, folder)


def summary(directory: Path) -> dict[str, Any]:
    """Of a run, without what differs from run to run."""
    report: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    return {key: value for key, value in report.items() if key not in ("timing", "directory")}


def test_it_is_for_any_linux_with_this_glibc() -> None:
    platform = Path(WHEEL).stem.rpartition("-")[2]
    assert platform.startswith("manylinux_2_"), platform
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", WHEEL],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f'platform tag: "{platform}"' in " ".join(shown.split())


def test_it_brings_no_libraries_of_others() -> None:
    """Its one library from elsewhere, libpcap, is a part of the core."""
    names = zipfile.ZipFile(WHEEL).namelist()
    objects = {name.partition(".")[0] for name in names if ".so" in name}
    assert objects == {"microbox/_core", "microbox/_event_view"}
    [licence] = [name for name in names if name.endswith("/licenses/LICENSE.libpcap")]
    assert b"Redistribution and use" in zipfile.ZipFile(WHEEL).read(licence)


def test_there_is_no_compiler(installed: Installed) -> None:
    path = str(installed.environment / "bin")
    assert [name for name in COMPILERS if shutil.which(name, path=path)] == []
    examined = installed.run("doctor", "--json")
    findings = {one["name"]: one["state"] for one in json.loads(examined.stdout)}
    assert findings["C compiler"] == "warning"


@pytest.mark.parametrize("chain", CHAINS)
def test_chains_write_what_they_write_in_the_checkout(installed: Installed, chain: str) -> None:
    written, expected = (installed.folder / name / chain for name in ("wheel", "checkout"))
    ended = installed.run("run", f"configs/{chain}.yaml", "--write", str(written))
    assert ended.returncode == 0, ended.stderr
    own = Path(sys.executable).with_name("microbox")
    command = [str(own), "run", f"configs/{chain}.yaml", "--write", str(expected)]
    subprocess.run(command, cwd=installed.folder, check=True, capture_output=True)
    assert {file.name for file in written.iterdir()} == {file.name for file in expected.iterdir()}
    for log in written.glob("*.jsonl"):
        assert log.read_bytes() == (expected / log.name).read_bytes(), log.name
    assert summary(written) == summary(expected)


def test_manual_pages_lie_where_man_looks(installed: Installed) -> None:
    pages = installed.environment / "share" / "man" / "man1"
    assert ".Nm microbox run" in (pages / "microbox-run.1").read_text()
    assert (pages / "microbox.1").exists()


def test_an_nf_in_c_says_that_a_compiler_is_missing(installed: Installed) -> None:
    shutil.copy(ROOT / "examples" / "c" / "count.c", installed.folder)
    chain = installed.folder / "in_c.yaml"
    chain.write_text("input: captures/sample.pcap\nchain: [{nf: ./count.c}]\n")
    ended = installed.run("run", str(chain))
    assert ended.returncode == 2
    assert "there is no C compiler" in ended.stderr
    assert "apt-get install gcc libc6-dev" in ended.stderr


def test_an_nf_that_init_writes_runs(installed: Installed) -> None:
    assert installed.run("init", "nf", "my_nf", "--directory", "mine").returncode == 0
    ended = installed.run("run", "mine/chain.yaml")
    assert ended.returncode == 0, ended.stderr
