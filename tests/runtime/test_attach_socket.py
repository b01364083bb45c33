"""NFs in terminals are looked after a few at a time; the others wait for their turn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from microbox.runtime.control.attach_socket import GUESTS_MAX, AttachSocket, connect
from microbox.runtime.processes.foreign_process import Peer


class Hosts:
    """Keeps whoever comes until it may go on, and then says so to it."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()
        self.present = 0

    async def welcome(self, connected: socket.socket, _peer: Peer) -> None:
        self.present += 1
        with connected:
            await self.may_go_on.wait()
            connected.send(b"welcome")
        self.present -= 1


@asynccontextmanager
async def listening(path: Path, hosts: Hosts) -> AsyncIterator[None]:
    listener = AttachSocket(path, hosts.welcome, workers=1)
    try:
        yield
    finally:
        await listener.close()


async def connected(path: Path, number: int) -> list[socket.socket]:
    guests = [await asyncio.to_thread(connect, path) for _ in range(number)]
    for guest in guests:
        guest.settimeout(20)
    return guests


async def until_present(hosts: Hosts, number: int) -> None:
    while hosts.present < number:
        await asyncio.sleep(0.001)


def test_those_who_come_when_enough_are_there_wait_and_are_welcomed_later(tmp_path: Path) -> None:
    async def come() -> list[bytes]:
        hosts = Hosts()
        async with listening(tmp_path / "a.attach", hosts):
            guests = await connected(tmp_path / "a.attach", GUESTS_MAX + 2)
            async with asyncio.timeout(20):
                await until_present(hosts, GUESTS_MAX)
                for _ in range(100):  # those who are too many have every chance to be accepted
                    await asyncio.sleep(0)
                assert hosts.present == GUESTS_MAX
                hosts.may_go_on.set()
                return [await asyncio.to_thread(guest.recv, 100) for guest in guests]

    assert asyncio.run(come()) == [b"welcome"] * (GUESTS_MAX + 2)


def test_who_still_waits_when_the_run_ends_hears_that_nobody_comes(tmp_path: Path) -> None:
    async def come() -> bytes:
        hosts = Hosts()
        async with listening(tmp_path / "a.attach", hosts):
            guests = await connected(tmp_path / "a.attach", GUESTS_MAX + 1)
            async with asyncio.timeout(20):
                await until_present(hosts, GUESTS_MAX)
        return guests[-1].recv(100)

    with suppress(ConnectionResetError):
        assert asyncio.run(come()) == b""
