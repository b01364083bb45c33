"""A machine that systemd runs, in namespaces of its own, with microbox installed as
docs/guide/operating.md says: its root is an overlay of this machine's, and goes with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import MICROBOX, ROOT

PACKAGING = ROOT / "packaging"
SYSTEMD = Path("/lib/systemd/systemd")
UNITS = Path("/lib/systemd/system")
# What a service and its dependencies name. Nothing else of this machine's is there to be started.
NEEDED_UNITS = (
    "basic.target",
    "multi-user.target",
    "network.target",
    "shutdown.target",
    "sysinit.target",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "umount.target",
)
# The service sees no homes, where this Python may be; Debian's is for all.
PYTHON = Path("/usr/bin/python3")
NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--ipc", "--uts", "--net")
LIMIT = 120.0


def what_is_missing() -> str | None:
    """Why there can be no such machine here."""
    if os.geteuid() != 0:
        return "namespaces with a systemd of their own need root"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    tools = ("unshare", "nsenter", "pivot_root", "setpriv", "logrotate", "systemd-sysusers")
    for tool in tools:
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if _version_of(PYTHON) != sys.version_info[:2]:
        return f"{PYTHON} is not the version of Python that microbox was built for"
    if _control_groups() is None:
        return "no control groups (version 2) are mounted to be written"
    probe = subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else "no namespaces can be made here"


def _version_of(python: Path) -> tuple[int, ...] | None:
    if not python.exists():
        return None
    command = [str(python), "-c", "import sys; print(*sys.version_info[:2])"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(int(number) for number in done.stdout.split())


def _control_groups() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(where)
    return None


@dataclass(frozen=True)
class Machine:
    first_process: int

    def path(self, inside: str) -> Path:
        """A file of the machine, as it is seen from outside."""
        return Path(f"/proc/{self.first_process}/root{inside}")

    def try_to_run(self, *command: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-t", str(self.first_process), "-m", "-p", "-n", "-i", "-u", "-C"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return subprocess.run(
            [*enter, *clean, *command], capture_output=True, text=True, check=False, timeout=LIMIT
        )

    def run(self, *command: str) -> str:
        done = self.try_to_run(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}\n{self.journal()}"
        return done.stdout

    def journal(self, unit: str = "*") -> str:
        return self.try_to_run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def property(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def microbox(self, *arguments: str) -> str:
        """As operating.md says that one looks at services."""
        user = ["setpriv", "--reuid=microbox", "--regid=microbox", "--clear-groups"]
        return self.run(
            *user, "env", "XDG_RUNTIME_DIR=/run", "/opt/microbox/bin/microbox", *arguments
        )


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"after {LIMIT:.0f} s: not {what}"
        time.sleep(0.1)


@contextmanager
def running_machine(folder: Path) -> Iterator[Machine]:
    """A machine whose systemd takes commands. `folder` is empty, and the machine's alone."""
    _lay_out(folder / "files")
    (folder / "memory").mkdir()
    control_groups = _control_groups()
    assert control_groups is not None
    group = control_groups / f"microbox-test-{os.getpid()}"
    group.mkdir()
    script = [str(Path(__file__).with_suffix(".sh")), str(folder), sysconfig.get_path("purelib")]
    enter_group = ["sh", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', str(group)]
    # Whatever becomes of the tests, the machine is not left behind.
    end_with_tests = ["setpriv", "--pdeathsig=KILL"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*enter_group, *end_with_tests, "unshare", *NAMESPACES, *script],
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        machine = Machine(_first_process(process, folder / "log"))
        wait_until(lambda: _takes_commands(machine), "started")
        machine.run("systemd-sysusers")
        yield machine
    finally:
        process.kill()
        process.wait()
        _remove(group)


def _lay_out(files: Path) -> None:
    """What operating.md has an administrator copy, and the environment of /opt/microbox."""
    units = files / "units"
    (units / "sysinit.target.wants").mkdir(parents=True)
    for name in NEEDED_UNITS:
        shutil.copy(UNITS / name, units)
    (units / "sysinit.target.wants" / "systemd-journald.service").symlink_to(
        "../systemd-journald.service"
    )
    shutil.copy(PACKAGING / "systemd" / "microbox@.service", units)
    for source, target in (("sysusers.d/microbox.conf", "sysusers.d"), ("logrotate/microbox", "")):
        folder = files / "etc" / (target or "logrotate.d")
        folder.mkdir(parents=True)
        shutil.copy(PACKAGING / source, folder)
    (files / "etc" / "microbox").mkdir()
    _lay_out_environment(files / "opt" / "microbox")


def _lay_out_environment(environment: Path) -> None:
    packages = environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "site.pth").write_text("/opt/site\n")
    (environment / "pyvenv.cfg").write_text(f"home = {PYTHON.parent}\n")
    programs = environment / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(PYTHON)
    _, _, program = MICROBOX.read_text().partition("\n")
    (programs / "microbox").write_text(f"#!/opt/microbox/bin/python\n{program}")
    (programs / "microbox").chmod(0o755)


def _first_process(process: subprocess.Popen[bytes], log: Path) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def is_systemd() -> bool:
        assert process.poll() is None, log.read_text()
        found = children.read_text().split()
        return bool(found) and Path(f"/proc/{found[0]}/comm").read_text() == "systemd\n"

    wait_until(is_systemd, "started")
    return int(children.read_text())


def _takes_commands(machine: Machine) -> bool:
    return machine.try_to_run("systemctl", "is-active", "multi-user.target").returncode == 0


def _remove(group: Path) -> None:
    """Its processes are dead, or dying."""
    wait_until(lambda: "populated 0" in (group / "cgroup.events").read_text(), "ended")
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()
