"""A hostile NF: it tries all that a process could do to others, and nobody else notices.

Its file is hostile.py. The chain runs as root, whose NFs get users of their own, and as an ordinary
user, whose NFs share theirs with worker and controller.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Workbench

ROOT = Path(__file__).parents[2]
NOBODY = 65534
OWN_USERS = 0x70000000  # MB_OWN_USERS
REFUSED = {"EPERM", "EACCES", "EBADF", "EINVAL", "ENOSYS"}
"""EBADF, and EINVAL for truncating: the capture's descriptor is one for reading. ENOSYS: calls that
do not exist for an NF."""

COUNT = """
class Count(NetworkFunction):
    @on("tcp")
    def see(self, event):
        self.record(event, type=str(event.type), packet=event.packet)
    def finish(self):
        while not os.path.exists(os.path.join(os.path.dirname(__file__), "shared", "done")):
            time.sleep(0.01)  # it is to be there to be attacked
"""

BY_USER = {
    "root": [],
    # The interpreter may lie where only root looks: the right to read there, no other.
    "an ordinary user": [
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
        "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
        "--bounding-set=-all,+dac_read_search",
    ],
}  # fmt: skip


@pytest.fixture(params=BY_USER)
def prefix(request: pytest.FixtureRequest) -> list[str]:
    command: list[str] = BY_USER[request.param]
    if os.geteuid() != 0:
        if not command:
            pytest.skip("not root")
        return []
    if command and subprocess.run([*command, "true"], check=False).returncode != 0:
        pytest.skip("setpriv cannot change the user here")
    return command


def prepared(workbench: "Workbench", prefix: list[str], **keys: Any) -> Path:
    """The chain with the hostile NF between two that count; all belongs to who runs it."""
    folder = workbench.folder
    shutil.copy(Path(__file__).with_name("hostile.py"), folder)
    (folder / "shared").mkdir(exist_ok=True)
    (folder / "shared" / "done").unlink(missing_ok=True)
    shutil.copy(ROOT / "captures" / "sample.pcap", folder / "in.pcap")
    (folder / "secret").write_text("nobody's business\n")
    (folder / "linked.py").unlink(missing_ok=True)
    (folder / "linked.py").symlink_to("secret")
    (folder / "apart").mkdir(exist_ok=True)
    count = workbench.nf("count", COUNT)
    hostile = {"nf": "./hostile.py", **keys.pop("hostile", {})}
    chain = workbench.chain(
        count,
        hostile,
        {"nf": count, "name": "later"},
        output="out.pcap",
        sandbox={},
        capture=folder / "in.pcap",
        **keys,
    )
    if prefix:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    return chain


def expect_in_ps(workbench: "Workbench", process: int, prefix: list[str], *, is_off: bool) -> None:
    """What `microbox ps` says of the NF while it runs."""
    (run,) = json.loads(workbench.run("ps", "--json").stdout)
    (shown,) = [nf["in_force"] for nf in run["nfs"] if nf["process"] == process]
    assert shown["sandbox"] is not is_off
    assert shown["undumpable"] is not is_off
    assert shown["seccomp"] is not is_off
    assert shown["no_new_privileges"] is not is_off
    assert (shown["landlock"] > 0) is not is_off
    user = NOBODY if prefix else os.geteuid()
    has_own = os.geteuid() == 0 and not prefix and not is_off
    assert shown["user"] == (OWN_USERS + process if has_own else user)
    assert workbench.run("ps").stdout.count("sandbox: off") == int(is_off)


@contextlib.contextmanager
def mailbox(path: Path) -> Iterator[None]:
    """A socket that anybody may write to, as the system's log has one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        path.chmod(0o777)
        yield
    path.unlink()


def attack(
    workbench: "Workbench", chain: Path, prefix: list[str], *, is_off: bool = False
) -> dict[str, list[str]]:
    """Runs the chain; what became of each attempt."""
    folder = workbench.folder
    process = workbench.start("run", chain, "--overwrite", prefix=prefix)
    own = int(workbench.wait_for(folder / "shared" / "waiting"))
    others = sorted(set(workbench.processes()) - {own})
    assert len(others) == 4, "controller, worker, two NFs"
    targets = {
        "processes": others,
        "control": str(next((folder / "microbox").glob("*.socket"))),
        "secret": str(folder / "secret"),
        "mailbox": str(folder / "apart" / "mailbox"),
        "apart": str(folder / "apart"),
        "log": str(folder / "microbox-logs" / "count.jsonl"),
        "new": str(folder / "microbox-logs" / "new"),
    }
    expect_in_ps(workbench, own, prefix, is_off=is_off)
    with mailbox(folder / "apart" / "mailbox"):
        (folder / "targets").write_text(json.dumps(targets))
        (folder / "targets").rename(folder / "shared" / "targets.json")
        result = workbench.end(process)
    assert result.returncode == 0, result.stderr
    return {one["attempt"]: one["errors"] for one in workbench.log("hostile")}


def outputs(workbench: "Workbench") -> list[bytes]:
    logs = workbench.folder / "microbox-logs"
    files = [logs / "count.jsonl", logs / "later.jsonl", workbench.folder / "out.pcap"]
    return [file.read_bytes() for file in files]


def test_nothing_that_it_tries_succeeds(workbench: "Workbench", prefix: list[str]) -> None:
    chain = prepared(workbench, prefix, hostile={"attacks": False})
    assert workbench.run("run", chain, prefix=prefix).returncode == 0
    undisturbed = outputs(workbench)

    chain = prepared(workbench, prefix)
    attempts = attack(workbench, chain, prefix)
    assert len(attempts) > 50
    succeeded = {
        name: errors for name, errors in attempts.items() if set(errors) - REFUSED or not errors
    }
    assert succeeded == {}
    assert outputs(workbench) == undisturbed
    assert (workbench.folder / "secret").read_text() == "nobody's business\n"
    assert workbench.processes() == {}


def test_without_a_sandbox_much_of_it_succeeds(workbench: "Workbench", prefix: list[str]) -> None:
    """So the attempts are real, and what refuses them is the sandbox; seals hold without it."""
    chain = prepared(workbench, prefix, hostile={"gently": True, "sandbox": "off"})
    attempts = attack(workbench, chain, prefix, is_off=True)
    succeeded = {name for name, errors in attempts.items() if "0" in errors}
    assert succeeded >= {
        "the control socket", "a socket", "read another's file", "make a file", "chmod",
        "set times", "renice", "affinity", "prlimit", "signal 0", "fork", "spawn",
        "read through a link", "a letter to a socket", "watch a directory",
    }  # fmt: skip
    sealed = {"pwrite", "mmap writable", "punch a hole", "mprotect", "MADV_REMOVE", "add seals"}
    assert succeeded.isdisjoint(sealed)
