"""What is shipped for systemd, logrotate and containers fits the program, and each other."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import MICROBOX

if TYPE_CHECKING:
    from tests.conftest import Workbench

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "systemd" / "microbox@.service"
CONTAINERFILE = PACKAGING / "Containerfile"
INSTALLED = "/opt/microbox/bin/microbox"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def setting(name: str) -> str:
    """The last value of a setting of the unit."""
    found = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.M)
    return str(found[-1])


def unit_here(folder: Path) -> Path:
    """The unit, with the program where it is here."""
    assert INSTALLED in UNIT.read_text()
    unit = folder / "microbox@demo.service"
    unit.write_text(UNIT.read_text().replace(INSTALLED, str(MICROBOX)))
    return unit


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", str(unit_here(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_service_is_exposed_no_more_than_this(tmp_path: Path) -> None:
    """systemd rates from 0 to 10 what a service could do."""
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager"]
    done = subprocess.run(
        [*command, unit_here(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_units_command_runs_a_chain_where_logs_and_sockets_are_to_be(
    workbench: Workbench,
) -> None:
    folder = workbench.folder
    workbench.chain("flow_log")
    program, *arguments = shlex.split(
        setting("ExecStart")
        .replace("/etc/microbox/%i.yaml", str(folder / "chain.yaml"))
        .replace("%L", str(folder / "log"))
        .replace("%i", "demo")
    )
    assert program == INSTALLED
    result = workbench.run(*arguments)
    assert result.returncode == 0, result.stderr
    assert (folder / "log" / setting("LogsDirectory").replace("%i", "demo") / "logs").is_dir()
    # The workbench says XDG_RUNTIME_DIR=folder, as the unit says %t.
    assert setting("Environment") == "XDG_RUNTIME_DIR=%t"
    socket_directory = folder / setting("RuntimeDirectory")
    assert socket_directory.stat().st_mode & 0o777 == int(setting("RuntimeDirectoryMode"), 8)


def test_logrotate_finds_the_logs_of_the_service() -> None:
    directory = re.search(r"--write %L(\S+)", setting("ExecStart"))
    pattern = re.search(r"^(/\S+) \{$", (PACKAGING / "logrotate" / "microbox").read_text(), re.M)
    assert directory and pattern
    log = f"/var/log{directory[1].replace('%i', 'demo')}/flow_log.jsonl"
    assert fnmatch.fnmatch(log, pattern[1])


# --- the container ---


def instructions(name: str) -> list[str]:
    """What stands behind an instruction of the Containerfile, each time that it is there."""
    text = CONTAINERFILE.read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, re.M)


def packages() -> tuple[set[str], set[str]]:
    """Debian packages that the first stage installs, and the last one."""
    first, last = (
        set(line.partition("--no-install-recommends")[2].partition("&&")[0].split())
        for line in instructions("RUN")
        if "apt-get install" in line
    )
    return first, last


def test_all_that_is_copied_into_the_container_is_there() -> None:
    copied = [line for line in instructions("COPY") if not line.startswith("--from")]
    sources = [source for line in copied for source in line.split()[:-1]]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_the_container_is_built_with_what_the_checkout_is_built_with() -> None:
    named = re.search(r'^packages="(.*)"$', (ROOT / "tools" / "setup").read_text(), re.M)
    assert named
    assert set(named[1].split()) <= packages()[0]


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this is not Debian")
def test_the_container_has_the_libraries_that_the_core_is_linked_with() -> None:
    from microbox import _core

    linked = subprocess.run(
        ["ldd", str(_core.__file__)], capture_output=True, text=True, check=True
    )
    libraries = re.findall(r"=> \S*/(libpcap\S+)", linked.stdout)
    assert libraries
    owner = subprocess.run(
        ["dpkg-query", "--search", libraries[0]], capture_output=True, text=True, check=True
    )
    assert owner.stdout.partition(":")[0] in packages()[1]


def test_the_containers_command_is_the_units() -> None:
    (program,) = json.loads(instructions("ENTRYPOINT")[0])
    assert program == MICROBOX.name
    arguments = json.loads(instructions("CMD")[0])
    in_unit = shlex.split(setting("ExecStart"))[1:]
    assert [one for one in arguments if "/" not in one and "." not in one] == [
        one for one in in_unit if "/" not in one
    ]
