"""What a service manager is told, on sockets as systemd makes them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from microbox.runtime.observer import Reading
from microbox.runtime.service_manager import ServiceManager

if TYPE_CHECKING:
    from tests.conftest import Workbench

READING = Reading("replay", packets=12_345, events=67_890, file_read=45, file_size=100)


@contextmanager
def manager_at(address: str | bytes) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        yield manager


def messages(manager: socket.socket) -> list[str]:
    """All that have come: a datagram is there as soon as it is sent."""
    told = []
    while True:
        try:
            told.append(manager.recv(4096).decode())
        except BlockingIOError:
            return told


def environment(address: str, **others: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": address, "HOME": "/", **others}


@pytest.mark.parametrize("is_abstract", [False, True])
def test_each_message_is_a_datagram_to_the_socket_that_the_environment_names(
    tmp_path: Path, is_abstract: bool
) -> None:
    path = str(tmp_path / "notify")
    with manager_at(f"\0{path}" if is_abstract else path) as manager:
        run = ServiceManager.of_environment(environment(f"@{path}" if is_abstract else path))
        run.ready()
        run.reading(READING)
        run.stopping()
        run.stopping()
        assert messages(manager) == [
            "READY=1",
            "STATUS=replay: 12,345 packets, 67,890 events, 45% of the input",
            "STOPPING=1",
        ]


def test_what_it_was_told_of_the_manager_is_in_the_environment_no_more(tmp_path: Path) -> None:
    one = environment(str(tmp_path / "notify"), WATCHDOG_USEC="1000000", WATCHDOG_PID="1")
    ServiceManager.of_environment(one)
    assert one == {"HOME": "/"}


@pytest.mark.parametrize(
    ("others", "beats"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 1),  # a second each, and no second has passed
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1),
        ({"WATCHDOG_USEC": "3"}, 5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0),  # another process is watched
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({}, 0),
    ],
)
def test_the_watchdog_hears_three_times_in_the_time_that_it_allows(
    tmp_path: Path, others: dict[str, str], beats: int
) -> None:
    with manager_at(str(tmp_path / "notify")) as manager:
        run = ServiceManager.of_environment(environment(str(tmp_path / "notify"), **others))
        for _ in range(5):
            run.reading(READING)
        assert messages(manager).count("WATCHDOG=1") == beats


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nobody/listens/here"])
def test_nobody_to_be_told_is_no_mistake(address: str) -> None:
    run = ServiceManager.of_environment(environment(address, WATCHDOG_USEC="1"))
    run.ready()
    run.reading(READING)
    run.stopping()


def test_a_manager_that_does_not_read_holds_up_nothing(tmp_path: Path) -> None:
    with manager_at(str(tmp_path / "notify")) as manager:
        run = ServiceManager.of_environment(environment(str(tmp_path / "notify")))
        for _ in range(2_000):
            run.ready()  # its queue is full long before that
        assert 0 < len(messages(manager)) < 2_000


WAITING = """
class Waiting(NetworkFunction):
    def start(self):
        names = [name for name in os.environ if name.startswith(("NOTIFY", "WATCHDOG"))]
        open("environment", "w").write(str(names))
    @on("packet")
    def see(self, event):
        while not os.path.exists("go"):
            time.sleep(0.01)
"""


def test_a_run_says_when_it_is_ready_that_it_lives_and_that_it_ends(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workbench.folder
    chain = workbench.chain(workbench.nf("waiting", WAITING))
    with manager_at(str(folder / "notify")) as manager:
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        process = workbench.start("run", chain)
        assert manager.recv(4096) == b"READY=1"
        assert (folder / "environment").read_text() == "[]", "start() was over, and saw nothing"
        told = [manager.recv(4096).decode() for _ in range(4)]
        assert told.count("WATCHDOG=1") >= 3
        assert any(one.startswith("STATUS=replay: ") for one in told)
        (folder / "go").touch()
        assert workbench.end(process).returncode == 0
        manager.setblocking(False)
        assert messages(manager)[-1] == "STOPPING=1"
