"""The process of an NF: what it says, and that it outlives nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from microbox.channel.channel import Channel, ChannelClosed, pair
from microbox.channel.messages import (
    Area,
    AreaShape,
    Begin,
    Bit,
    Configure,
    Confined,
    Failed,
    Load,
    Manifest,
    Message,
    Stop,
)

NF = """
from microbox import NetworkFunction, on

class Counting(NetworkFunction):
    '''Counts.'''
    limit: int = 3

    @on("packet")
    def see(self, event): ...
"""


@dataclass
class Child:
    process: subprocess.Popen[str]
    channel: Channel

    def tell(self, message: Message) -> Message:
        """What it answers."""
        self.channel.send(message)
        return self.hear()

    def hear(self) -> Message:
        """The next thing that it says."""
        assert self.channel.poll(20), "no answer"
        answer, fds = self.channel.receive()
        for fd in fds:
            os.close(fd)
        return answer

    def load(self, source: Path, **parameters: object) -> Message:
        """What it says once it is confined and has run the file."""
        confined = self.tell(Load("counting", str(source), dict(parameters)))
        assert isinstance(confined, Confined)
        return self.hear()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "counting.py"
    path.write_text(NF)
    return path


@pytest.fixture
def child() -> Iterator[Child]:
    ours, theirs = pair()
    command = [sys.executable, "-P", "-m", "microbox.nf.process", str(theirs.fileno())]
    process = subprocess.Popen(
        command, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True
    )
    theirs.close()
    with Channel(ours) as channel:
        yield Child(process, channel)
    process.kill()
    process.communicate()


CONFIGURE = Configure(
    index=0,
    bits=[Bit(0, "", [1], [1])],
    shape=AreaShape(4096, 0, 0, is_inline=False),
    cut=0,
    user_types=[],
    names=["counting"],
)


def test_it_says_what_the_nf_is_and_stops_when_told(child: Child, source: Path) -> None:
    manifest = child.load(source)
    assert isinstance(manifest, Manifest)
    assert (manifest.class_name, manifest.doc) == ("Counting", "Counts.")
    child.channel.send(Stop())
    assert child.process.wait(20) == 0


def test_it_makes_its_area(child: Child, source: Path) -> None:
    child.load(source)
    assert isinstance(child.tell(CONFIGURE), Area)


def test_a_file_that_is_no_nf_is_said_with_a_hint(child: Child, tmp_path: Path) -> None:
    source = tmp_path / "nothing.py"
    source.write_text("x = 1\n")
    assert child.load(source) == Failed(
        f"{source} defines no NF", "", "write a class that derives from microbox.NetworkFunction"
    )
    assert child.process.wait(20) == 1


def test_a_wrong_class_is_said_with_its_traceback(child: Child, source: Path) -> None:
    source.write_text(NF.replace('"packet"', '"paket"'))
    failed = child.load(source)
    assert isinstance(failed, Failed)
    assert "unknown event type 'paket'; did you mean 'packet'" in failed.error
    assert "counting.py" in failed.traceback


def test_a_wrong_parameter_is_said_before_anything_runs(child: Child, source: Path) -> None:
    child.load(source, limmit=4)
    assert child.tell(CONFIGURE) == Failed(
        "unknown parameter 'limmit'; did you mean 'limit'?", "", ""
    )


def test_a_message_out_of_turn_is_refused(child: Child) -> None:
    assert child.tell(Begin()) == Failed("expected Load, got Begin", "", "")


def test_it_ends_when_the_controller_is_gone(child: Child, source: Path) -> None:
    child.load(source)
    child.channel.close()
    assert child.process.wait(20) == 0


def test_an_interrupt_is_the_controllers_to_handle(child: Child, source: Path) -> None:
    child.load(source)
    child.process.send_signal(signal.SIGINT)
    assert isinstance(child.tell(CONFIGURE), Area)


def test_what_it_prints_comes_at_once(child: Child, source: Path) -> None:
    source.write_text("print('loading')\n" + NF)
    child.load(source)
    assert child.process.stdout is not None
    assert child.process.stdout.readline() == "loading\n"
    assert child.process.poll() is None


def test_it_dies_with_the_process_that_started_it(source: Path, tmp_path: Path) -> None:
    """Even where it does not read its socket, being busy or stuck."""
    source.write_text("import time\ntime.sleep(60)\n")
    parent = textwrap.dedent(f"""
        import os, socket, subprocess, sys, time
        from microbox.channel.channel import Channel, pair
        from microbox.channel.messages import Load
        ours, theirs = pair()
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "microbox.nf.process", str(theirs.fileno())],
            pass_fds=[theirs.fileno(), ours.fileno()],
        )
        Channel(ours).send(Load("stuck", {str(source)!r}, {{}}))
        while b"microbox.nf.process" not in open(f"/proc/{{child.pid}}/cmdline", "rb").read():
            time.sleep(0.01)
        time.sleep(1.0)
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        os._exit(0)
    """)
    subprocess.run([sys.executable, "-P", "-c", parent], check=True, timeout=30)
    number = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while is_running(number) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(number)


def is_running(number: int) -> bool:
    try:
        status = Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def test_a_closed_channel_is_no_answer() -> None:
    ours, theirs = pair()
    theirs.close()
    with Channel(ours) as channel, pytest.raises(ChannelClosed):
        channel.send(Stop())
