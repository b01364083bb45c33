"""Channels carry messages and descriptors between processes, and refuse everything else."""

import array
import asyncio
import gc
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from microbox.channel.async_channel import AsyncChannel
from microbox.channel.channel import (
    MESSAGE_LIMIT,
    Channel,
    ChannelClosed,
    ChannelError,
    pair,
)
from microbox.channel.datagram import encode
from microbox.channel.messages import Area, Begin, Load, Map, Problem, Ready, StartWorker

Ends = tuple[Channel, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A channel, and the bare socket that it talks to."""
    ours, theirs = pair()
    with Channel(ours) as channel, theirs:
        yield channel, theirs


def open_descriptors() -> set[str]:
    gc.collect()  # what other tests left may hold descriptors until just now
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


def send_raw(peer: socket.socket, payload: bytes, fds: tuple[int, ...] = ()) -> None:
    rights = array.array("i", fds)
    peer.sendmsg([payload], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fds else [])


def test_message_and_descriptor_arrive_in_a_child() -> None:
    ours, theirs = pair()
    child = os.fork()
    if child == 0:
        with Channel(theirs) as channel:
            message, (fd,) = channel.receive()
            text = os.pread(fd, 100, 0).decode()
            channel.send(Problem("warning", f"{message.kind}: {text}"))
        os._exit(0)
    theirs.close()
    with Channel(ours) as channel, Path("/proc/self/comm").open("rb") as file:
        channel.send(Area(), [file.fileno()])
        answer, _ = channel.receive()
        assert answer == Problem("warning", f"area: {Path('/proc/self/comm').read_text()}")
        with pytest.raises(ChannelClosed):
            channel.receive()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_received_descriptors_are_not_inherited(ends: Ends) -> None:
    channel, peer = ends
    with Channel(peer.dup()) as sender:
        sender.send(Area(), [0])
    _, (fd,) = channel.receive()
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize(
    ("payload", "fds", "complaint"),
    [
        (msgpack.packb({"kind": "area"}), 0, "'area' comes with 1 descriptors, not 0"),
        (msgpack.packb({"kind": "begin"}), 2, "'begin' comes with 0 descriptors, not 2"),
        (msgpack.packb({"kind": "begin"}), 9, "more than 5 descriptors"),
        (msgpack.packb({"kind": "rob"}), 1, "unknown kind"),
        (msgpack.packb({1: 2}), 1, "not msgpack"),
        (msgpack.packb({"kind": msgpack.Timestamp(1)}), 0, "not msgpack"),
        (b"\xc1", 1, "not msgpack"),
        (b"\x91" * 5000, 1, "not msgpack"),
        (b"\xdd\xff\xff\xff\xff", 0, "not msgpack"),
        (msgpack.packb("x" * (MESSAGE_LIMIT + 1)), 1, "more than 262,144 bytes"),
    ],
)
def test_what_is_refused_leaves_no_descriptor(
    ends: Ends, payload: bytes, fds: int, complaint: str
) -> None:
    channel, peer = ends
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MESSAGE_LIMIT)
    before = open_descriptors()
    send_raw(peer, payload, (0,) * fds)
    with pytest.raises(ChannelError, match=complaint):
        channel.receive()
    assert open_descriptors() == before


def test_the_channel_lives_on_after_a_refusal(ends: Ends) -> None:
    channel, peer = ends
    send_raw(peer, b"\xc1")
    send_raw(peer, msgpack.packb({"kind": "begin"}))
    with pytest.raises(ChannelError):
        channel.receive()
    assert channel.receive() == (Begin(), [])


def test_a_message_of_almost_the_limit_arrives(ends: Ends) -> None:
    channel, peer = ends
    message = Load("nf", "nf.py", {"rules": "x" * (MESSAGE_LIMIT - 200)})
    with Channel(peer.dup()) as sender:
        sender.send(message)
    assert channel.receive() == (message, [])


@pytest.mark.parametrize(
    ("message", "fds", "complaint"),
    [
        (Load("nf", "nf.py", {"rules": "x" * MESSAGE_LIMIT}), 0, "'load' is too large: 262,"),
        (Load("nf", "nf.py", {"rules": object()}), 0, "'load' cannot be sent"),
        (Load("nf", "nf.py", {"count": 2**70}), 0, "'load' cannot be sent"),
        (Map(1, 0, 0, 0), 1, "'map' takes 3 descriptors, not 1"),
        (Map(1, 0, 2, 0), 3, "'map' takes 4 descriptors, not 3"),
        (StartWorker("in", "out", 0, 4096, {}, []), 1, "'start_worker' takes 2 descriptors, not 1"),
    ],
)
def test_what_cannot_be_sent_is_said_at_once(
    ends: Ends, message: Load, fds: int, complaint: str
) -> None:
    channel, _ = ends
    with pytest.raises(ChannelError, match=complaint):
        channel.send(message, [0] * fds)


def test_sending_to_nobody_is_closed_not_a_signal(ends: Ends) -> None:
    channel, peer = ends
    peer.close()
    with pytest.raises(ChannelClosed):
        channel.send(Begin())


def test_poll_says_whether_receive_would_wait(ends: Ends) -> None:
    channel, peer = ends
    assert not channel.poll()
    send_raw(peer, msgpack.packb({"kind": "begin"}))
    assert channel.poll()


def test_receive_waits_though_an_event_loop_made_the_socket_one_that_does_not(ends: Ends) -> None:
    channel, peer = ends
    os.set_blocking(channel.fileno(), False)
    sender = threading.Timer(0.05, send_raw, [peer, encode(Begin(), [])])
    sender.start()
    assert channel.receive() == (Begin(), [])
    sender.join()


def test_the_asynchronous_end_waits_both_ways() -> None:
    async def talk() -> int:
        ours, theirs = pair()
        channel, other = AsyncChannel(ours), AsyncChannel(theirs)
        large = Load("nf", "nf.py", {"rules": "x" * 100_000})
        answer = asyncio.create_task(channel.receive())
        flood = asyncio.create_task(send_many(channel, large, 20))
        await asyncio.sleep(0.01)
        assert not answer.done()
        assert not flood.done()
        received = [await other.receive() for _ in range(20)]
        await flood
        await other.send(Ready())
        assert await answer == (Ready(), [])
        other.close()
        with pytest.raises(ChannelClosed):
            await channel.receive()
        channel.close()
        return sum(message == large for message, _ in received)

    assert asyncio.run(talk()) == 20


async def send_many(channel: AsyncChannel, message: Load, count: int) -> None:
    for _ in range(count):
        await channel.send(message)


def test_the_last_words_of_one_who_left_something_unread_arrive(ends: Ends) -> None:
    channel, peer = ends
    channel.send(Begin())
    other = Channel(peer.dup())
    other.send(Problem("warning", "the last words"))
    other.close()
    peer.close()
    assert channel.receive()[0] == Problem("warning", "the last words")
    with pytest.raises(ChannelClosed):
        channel.receive()
