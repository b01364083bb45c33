"""The control socket answers its owner's requests, and nothing else."""

import asyncio
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import uvloop
import zmq
import zmq.asyncio

from microbox.runtime.control.control_server import CHANGES_MAX, ControlServer
from microbox.runtime.control.control_socket import (
    ControlError,
    ask,
    run_name,
    running,
    socket_directory,
)
from microbox.runtime.control.request import SIZE_LIMIT

NAME = run_name("demo.yaml", 1)
STOP = msgpack.packb({"version": 1, "verb": "stop"})


@pytest.fixture(autouse=True)
def own_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def while_serving(talk: Callable[[ControlServer], Awaitable[Any]]) -> tuple[Any, list[str]]:
    """What `talk` returns, and the verbs that were carried out."""
    done: list[str] = []

    def handler(verb: str) -> Callable[[], dict[str, Any]]:
        def carry_out() -> dict[str, Any]:
            done.append(verb)
            return {"verb": verb}

        return carry_out

    async def run() -> Any:
        server = ControlServer(NAME, {verb: handler(verb) for verb in ("status", "events", "stop")})
        serving = asyncio.create_task(server.serve())
        try:
            return await talk(server)
        finally:
            serving.cancel()
            server.close()

    return uvloop.run(run()), done


def send(path: Path, payload: bytes) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.connect(f"ipc://{path}")
        client.send(payload)
        assert client.poll(5000)
        answer: dict[str, Any] = msgpack.unpackb(client.recv())
        return answer


@pytest.mark.parametrize("verb", ["status", "events", "stop"])
def test_a_verb_is_carried_out_and_answered(verb: str) -> None:
    result, done = while_serving(lambda server: asyncio.to_thread(ask, server.path, verb))
    assert result["verb"] == verb
    assert done == [verb]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"", "msgpack"),
        (b"\xc1", "msgpack"),
        (msgpack.packb([1]), "valid dictionary"),
        (msgpack.packb({"version": 1, "verb": "rob"}), "verb"),
        (msgpack.packb({"version": 2, "verb": "stop"}), "version"),
        (msgpack.packb({"verb": "stop"}), "version"),
        (msgpack.packb({"version": 1, "verb": "stop", "now": True}), "now"),
        (msgpack.packb({"version": 1, "verb": "stop"}) + b"\x00", "msgpack"),
        (msgpack.packb({"version": 1, "verb": "stop", "nf": "ids"}), "expected no 'nf'"),
        (msgpack.packb({"version": 1, "verb": "detach"}), "expected its name in 'nf'"),
        (b"\x83\xa7version\x01\xa4verb\xa6status\xa4verb\xa4stop", "each key once"),
        (msgpack.packb({"version": 1, "verb": "s" * SIZE_LIMIT}), "at most 4096 bytes"),
        (b"\x91" * 4000, "msgpack"),
    ],
)
def test_what_is_no_request_gets_an_error_and_does_nothing(payload: bytes, error: str) -> None:
    answer, done = while_serving(lambda server: asyncio.to_thread(send, server.path, payload))
    assert (answer["version"], answer["ok"]) == (1, False)
    assert error in answer["error"]
    assert done == []


def test_a_message_of_several_frames_is_no_request() -> None:
    def send_frames(server: ControlServer) -> dict[str, Any]:
        with zmq.Context() as context, context.socket(zmq.DEALER) as client:
            client.setsockopt(zmq.LINGER, 0)
            client.connect(f"ipc://{server.path}")
            client.send_multipart([b"one", b"two", STOP])
            assert client.poll(5000)
            answer: dict[str, Any] = msgpack.unpackb(client.recv())
            return answer

    answer, done = while_serving(lambda server: asyncio.to_thread(send_frames, server))
    assert answer["error"] == "a request is one frame"
    assert done == []


def test_no_more_changes_are_under_way_than_there_may_be() -> None:
    """Each may start processes. What goes beyond is refused; the others are carried out."""

    async def run() -> list[dict[str, Any]]:
        may_end = asyncio.Event()

        async def reload(name: str) -> dict[str, Any]:
            await may_end.wait()
            return {"nf": name}

        server = ControlServer(NAME, {}, {"reload": reload})
        serving = asyncio.create_task(server.serve())
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as client:
            client.setsockopt(zmq.LINGER, 0)
            client.connect(f"ipc://{server.path}")
            for number in range(CHANGES_MAX + 1):
                await client.send(
                    msgpack.packb({"version": 1, "verb": "reload", "nf": str(number)})
                )
            answers = [msgpack.unpackb(await client.recv())]
            may_end.set()
            answers += [msgpack.unpackb(await client.recv()) for _ in range(CHANGES_MAX)]
        serving.cancel()
        server.close()
        return answers

    refused, *others = asyncio.run(asyncio.wait_for(run(), 30))
    assert f"{CHANGES_MAX} changes are under way" in refused["error"]
    assert sorted(one["result"]["nf"] for one in others) == list(map(str, range(CHANGES_MAX)))


def test_an_error_of_the_run_is_told_and_the_next_request_is_answered() -> None:
    asked: list[str] = []

    def status() -> dict[str, Any]:
        asked.append("status")
        return {"share": 1 / (len(asked) - 1)}

    async def run() -> dict[str, Any]:
        server = ControlServer(NAME, {"status": status})
        serving = asyncio.create_task(server.serve())
        try:
            with pytest.raises(ControlError, match="an error of microbox: ZeroDivisionError"):
                await asyncio.to_thread(ask, server.path, "status")
            return await asyncio.to_thread(ask, server.path, "status")
        finally:
            serving.cancel()
            server.close()

    assert uvloop.run(run()) == {"share": 1.0}


def test_only_the_owner_can_reach_the_socket() -> None:
    async def look(server: ControlServer) -> tuple[int, int]:
        directory = server.path.parent
        return stat.S_IMODE(server.path.stat().st_mode), stat.S_IMODE(directory.stat().st_mode)

    modes, _ = while_serving(look)
    assert modes == (0o600, 0o700)


def test_the_socket_is_there_while_it_serves_and_gone_afterwards() -> None:
    async def look(_: ControlServer) -> list[str]:
        return list(running())

    found, _ = while_serving(look)
    assert found == [NAME]
    assert running() == {}


def test_what_a_killed_controller_left_is_removed() -> None:
    socket_directory().mkdir()
    left = socket_directory() / f"{NAME}.socket"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(left))
    assert running() == {}
    assert not left.exists()


def test_a_directory_that_others_can_enter_is_not_used() -> None:
    socket_directory().mkdir(mode=0o755)
    socket_directory().chmod(0o755)
    with pytest.raises(ControlError, match="not ours alone"):
        ControlServer(NAME, {})


def test_a_directory_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    socket_directory().symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ControlError, match="not ours alone"):
        ControlServer(NAME, {})


@contextmanager
def silent(path: Path) -> Iterator[None]:
    """A run that takes requests and says nothing."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(64)
        yield
    path.unlink()


def test_a_run_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microbox.runtime.control.control_socket.ANSWER_TIMEOUT", 50)
    path = tmp_path / "demo.1.socket"
    with silent(path), pytest.raises(ControlError, match=r"demo.1 does not answer"):
        ask(path, "status")


def test_who_asks_a_run_that_ends_meanwhile_does_not_wait_for_it(tmp_path: Path) -> None:
    path = tmp_path / "demo.1.socket"
    with ThreadPoolExecutor() as asking:
        with silent(path):
            asked = asking.submit(ask, path, "trace", flow="1")
            with pytest.raises(TimeoutError):
                asked.result(timeout=0.2)
        with pytest.raises(ControlError, match=r"demo.1 has ended"):
            asked.result(timeout=30)  # of the two minutes that a change may take
