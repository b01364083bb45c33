"""Whoever asks for a place in a chain may be anything, and may die at any step: nothing is left of
it, and the chain goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Workbench

TELL = """
class Tell(NetworkFunction):
    publishes = ["flow.told"]
    declares = {"flow.told": {"number": "u32"}}
    @on("packet")
    def tell(self, event):
        self.publish("flow.told", event, number=event.packet)
        self.record(event, number=event.packet)
"""

TOLD = """
class Told(NetworkFunction):
    declares = {"flow.told": {"number": "u32"}}
    @on("flow.told", "packet")
    def see(self, event):
        print("sees", file=sys.stderr, flush=True)
"""

# `microbox attach` whose process gets a signal before its n-th message is sent, or after it came.
INTERRUPTED = """
import os, signal, sys
from microbox.channel import channel
from microbox.cli.main import main

step, number = int(sys.argv[1]), int(sys.argv[2])
count = 0

def interrupt():
    global count
    count += 1
    if count == step:
        os.kill(os.getpid(), number)

class Interrupted(channel.Channel):
    def send(self, *message):
        interrupt()
        super().send(*message)

    def receive(self):
        received = super().receive()
        interrupt()
        return received

channel.Channel = Interrupted
sys.exit(main(sys.argv[3:]))
"""

# Speaks the protocol by hand: one line of Python a case.
ROGUE = """
import os, socket, sys
from microbox.channel.channel import Channel
from microbox.channel.messages import *
from microbox.runtime.control.attach_socket import connect
from pathlib import Path

connected = connect(Path(sys.argv[1]))
ours = Channel(connected)
source = str(Path("told.py").absolute())
manifest = Manifest("Told", "told.py", "", [], [HandlerDeclaration("see", ["packet"])], [], [], [],
                    False)

def join(name="rogue", **said):
    ours.send(Join(**{"name": name, "source": source, "parameters": {}, "base": "/", **said}))

def load():
    join()
    ours.receive()
    ours.send(Confined(True, 0))
    ours.send(manifest)
    return ours.receive()[0]

exec(sys.argv[2])
while True:
    message, _ = ours.receive()
    if isinstance(message, Refused):
        sys.exit(message.error)
"""

KILL = int(signal.SIGKILL)
AT_A_TIME = 6  # fewer than may wait to be attached
STEPS = 12
"""Messages from Join to the Begin that lets it read, for an NF with one neighbour."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Iterator[Workbench]:
    """A chain that runs slowly; at its end nothing of all others is left."""
    bench = Workbench(tmp_path_factory.mktemp("attaching"))
    run = begin(bench, demo)
    yield bench
    bench.run("stop")
    check_end(bench, run)


def begin(bench: Workbench, demo: Path) -> "subprocess.Popen[str]":
    chain = bench.chain(bench.nf("tell", TELL), capture=demo)
    bench.nf("told", TOLD)
    run = bench.start("run", chain, "--pace", "0.2")
    bench.until(lambda: run.poll() is not None or "packets" in bench.run("ps").stdout)
    assert run.poll() is None, bench.end(run).stderr
    return run


def check_end(bench: Workbench, run: "subprocess.Popen[str]") -> None:
    """The run was stopped, and the chain's own NF has lost nothing."""
    result = bench.end(run)
    leftovers = bench.processes()
    bench.clean_up()
    assert result.returncode == 128 + signal.SIGTERM, result.stderr
    assert leftovers == {}
    assert list((bench.folder / "microbox").iterdir()) == []
    numbers = [line["number"] for line in bench.log("tell")]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, bench.summary()["input"]["packets"] + 1))


def descriptors(bench: Workbench) -> list[str]:
    """What the controller has open, but for the control socket's connections."""
    folder = Path(f"/proc/{bench.started[0].pid}/fd")
    links = (str(one.readlink()) for one in folder.iterdir())
    return sorted(link for link in links if "socket" not in link)


def python(workbench: Workbench, code: str, *arguments: object) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=workbench.folder,
        env=workbench.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    workbench.started.append(process)
    return process


def names(workbench: Workbench) -> list[str]:
    (run,) = json.loads(workbench.run("ps", "--json").stdout)
    return [nf["name"] for nf in run["nfs"]]


def attach(workbench: Workbench) -> dict[str, Any]:
    """One that has nothing wrong with it."""
    guest = workbench.start("attach", "./told.py", "--json")
    assert guest.stderr is not None
    assert any("sees" in line for line in guest.stderr)
    guest.send_signal(signal.SIGINT)
    result = workbench.end(guest)
    assert result.returncode == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_one_that_is_killed_at_any_step_leaves_nothing(bench: Workbench) -> None:
    before = descriptors(bench)
    for first in range(1, STEPS + 1, AT_A_TIME):
        dying = [
            python(bench, INTERRUPTED, step, KILL, "attach", "./told.py", "--name", f"told_{step}")
            for step in range(first, first + AT_A_TIME)
        ]
        assert [bench.end(one).returncode for one in dying] == [-KILL] * len(dying)
    bench.until(lambda: names(bench) == ["tell"])
    bench.until(lambda: descriptors(bench) == before)
    assert attach(bench)["handled"] > 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("connected.send(b'rubbish')", "breaks the protocol: what came is not msgpack"),
        ("connected.send(bytes(300_000))", "a message of more than 262,144 bytes came"),
        ("ours.send(Ready())", "breaks the protocol: 'ready' while saying which NF it is"),
        ("ours.send(Stop())", "breaks the protocol: no child sends a 'stop'"),
        ("join(name='../tell')", "its name not fit for a file name"),
        ("join(name='tell')", "the chain has an NF 'tell'; expected another name"),
        ("join(source='told.py')", "is to be 'told.py', which is no file"),
        ("join(source='/dev/zero')", "is to be '/dev/zero', which is no file"),
        ("join(on_error='perhaps')", "knows no on_error: perhaps"),
        ("join(parameters={'x': b''})", "breaks the protocol: Join.parameters"),
        ("join(deadline='soon')", "breaks the protocol: Join.deadline"),
        ("join(workers=2)", "has 1 worker, and 'rogue' a process for each of 2; expected as many"),
        ("join(worker=1)", "rogue is for worker 1, which is none"),
        ("join(worker=-1)", "rogue is for worker -1, which is none"),
        ("load(); ours.send(Met())", "breaks the protocol: 'met' while making its shared memory"),
        ("load(); ours.send(Area(), [0])", "rogue "),
        ("load(); ours.send(Area(), [os.memfd_create('a')])", "rogue "),
    ],
)
def test_what_no_nf_says_is_refused(bench: Workbench, code: str, words: str) -> None:
    (socket,) = (bench.folder / "microbox").glob("*.attach")
    rogue = bench.end(python(bench, ROGUE, socket, code))
    assert rogue.returncode == 1
    assert words in rogue.stderr


def test_one_that_says_nothing_is_in_nobodys_way(bench: Workbench) -> None:
    (socket,) = (bench.folder / "microbox").glob("*.attach")
    silent = python(bench, ROGUE, socket, "")
    assert attach(bench)["handled"] > 0
    assert "hangs: no answer for 5 s while saying which NF it is" in bench.end(silent).stderr


def test_one_that_stands_still_while_it_comes_does_not_hold_up_the_end(
    workbench: Workbench, demo: Path
) -> None:
    run = begin(workbench, demo)
    arguments = ("attach", "./told.py")
    standing = python(workbench, INTERRUPTED, 6, int(signal.SIGSTOP), *arguments)
    os.waitid(os.P_PID, standing.pid, os.WSTOPPED | os.WNOWAIT)
    workbench.run("stop")
    assert standing.wait(20) == -signal.SIGKILL
    check_end(workbench, run)
