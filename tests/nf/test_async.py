"""NFs with `async def`: their handlers await while events wait, and their own tasks run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from microbox import DROP, Batch, Event, NetworkFunction, every, on, on_batch
from microbox.testing import RunFailed, run_nf
from tests.nf.conftest import MakeCapture, connection, udp

PAUSE = 0.001


class Ordered(NetworkFunction):
    """Awaits at each event, longer at even ones; a task of its own ticks meanwhile."""

    async def start(self) -> None:
        self.log: list[str] = []
        self.ticks = 0
        self.task = self.create_task(self.tick())

    async def tick(self) -> None:
        while True:
            self.ticks += 1
            await asyncio.sleep(PAUSE / 4)

    @on("udp.datagram")
    async def see(self, event: Event) -> None:
        number = event.packet
        self.log.append(f"begin {number}")
        ticks = self.ticks
        await asyncio.sleep(PAUSE * (2 - number % 2))
        assert event.packet == number and bytes(event.data) == b"%d" % number
        self.log.append(f"end {number}" if self.ticks > ticks else f"no tick during {number}")

    async def finish(self) -> Mapping[str, Any]:
        await asyncio.sleep(PAUSE)
        return {"log": self.log}


def test_events_wait_in_order_while_a_handler_awaits_and_tasks_run(capture: MakeCapture) -> None:
    result = run_nf(Ordered, capture([udp(b"%d" % number) for number in range(1, 31)]))
    expected = [f"{what} {number}" for number in range(1, 31) for what in ("begin", "end")]
    assert result.summary["log"] == expected
    assert result.problems == []


class Mixed(NetworkFunction):
    """Sync and async handlers of the same events, timers and batches."""

    def start(self) -> None:
        self.log: list[str] = []

    @on("udp.datagram")
    def plain(self, event: Event) -> None:
        self.log.append(f"plain {event.packet}")

    @on("udp.datagram")
    async def awaiting(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.log.append(f"awaiting {event.packet}")

    @on("udp.datagram")
    def plain_again(self, event: Event) -> None:
        self.log.append(f"again {event.packet}")

    @every(0.002)
    async def tick(self, event: Event) -> None:
        self.log.append(f"tick before {event.packet}")
        await asyncio.sleep(0)

    def finish(self) -> Mapping[str, Any]:
        return {"log": self.log}


def test_a_class_may_mix_both(capture: MakeCapture) -> None:
    log = run_nf(Mixed, capture([udp(b"x")] * 4)).summary["log"]
    for number in range(1, 5):
        here = [one for one in log if one.endswith(f" {number}") and "tick" not in one]
        assert here == [f"plain {number}", f"awaiting {number}", f"again {number}"]
    assert any(one.startswith("tick") for one in log)


class Batches(NetworkFunction):
    """Awaits with a batch."""

    def start(self) -> None:
        self.seen = 0

    @on_batch("packet")
    async def see(self, batch: Batch) -> None:
        await asyncio.sleep(0)
        self.seen += int(batch.packet.sum())

    def finish(self) -> Mapping[str, Any]:
        return {"seen": self.seen}


def test_batches_are_awaited(capture: MakeCapture) -> None:
    assert run_nf(Batches, capture([udp(b"x")] * 4)).summary == {"seen": 1 + 2 + 3 + 4}


class Refusing(NetworkFunction):
    """Drops what another task says."""

    async def start(self) -> None:
        self.questions: asyncio.Queue[tuple[int, asyncio.Future[bool]]] = asyncio.Queue()
        self.create_task(self.answer())

    async def answer(self) -> None:
        while True:
            packet, answer = await self.questions.get()
            answer.set_result(packet % 3 == 0)

    @on("packet")
    async def judge(self, event: Event) -> Any:
        answer = asyncio.get_running_loop().create_future()
        self.questions.put_nowait((event.packet, answer))
        if await answer:
            self.alert(event, f"refused {event.packet}")
            return DROP
        return None


def test_a_verdict_is_what_the_coroutine_returns(capture: MakeCapture) -> None:
    result = run_nf(Refusing, capture([udp(b"%d" % number) for number in range(1, 10)]))
    assert [int(one.data[42:]) for one in result.output] == [1, 2, 4, 5, 7, 8]
    assert [one.packet for one in result.alerts] == [3, 6, 9]
    assert result.verdicts == {DROP: 3}


class Raising(NetworkFunction):
    """Raises after an await."""

    def start(self) -> None:
        self.handled = 0

    @on("packet")
    async def see(self, event: Event) -> None:
        await asyncio.sleep(0)
        if event.packet % 2:
            raise ValueError(f"packet {event.packet}")
        self.handled += 1


def test_what_it_raises_ends_the_run(capture: MakeCapture) -> None:
    with pytest.raises(RunFailed, match="ValueError: packet 1"):
        run_nf(Raising, capture([udp(b"x")] * 4))


def test_with_skip_the_next_event_is_handled(capture: MakeCapture) -> None:
    result = run_nf(Raising, capture([udp(b"x")] * 4), on_error="skip")
    assert [one.error for one in result.problems] == [
        "ValueError: packet 1",
        "ValueError: packet 3",
    ]
    assert result.nf.handled == 2  # type: ignore[attr-defined]


class Keeping(NetworkFunction):
    """Keeps its event."""

    def start(self) -> None:
        self.kept: list[Event] = []

    @on("packet")
    async def see(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.kept.append(event)


def test_an_event_may_not_be_kept_past_the_coroutine(capture: MakeCapture) -> None:
    with pytest.raises(RunFailed, match="see kept its event past its return"):
        run_nf(Keeping, capture([udp(b"x")]))


class Catching(NetworkFunction):
    """Catches what holds its frames in a ring, with event and bytes in them."""

    @on("packet")
    async def see(self, event: Event) -> None:
        octets = event.frame
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(1)
        except TimeoutError as error:
            error.add_note(str(len(octets)))
            error.ring = error  # type: ignore[attr-defined]


def test_a_caught_exception_keeps_nothing(capture: MakeCapture) -> None:
    assert run_nf(Catching, capture([udp(b"x")] * 3)).problems == []


class KeepingData(NetworkFunction):
    """Keeps the bytes of its event."""

    def start(self) -> None:
        self.kept: list[memoryview] = []

    @on("packet")
    async def see(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.kept.append(event.frame)


def test_nor_its_bytes(capture: MakeCapture) -> None:
    with pytest.raises(RunFailed, match=r"see kept event\.data or event\.frame"):
        run_nf(KeepingData, capture([udp(b"x")]))


class Counting(NetworkFunction):
    """States of flows, which end."""

    flow_state = dict

    @on("tcp.data")
    async def see(self, event: Event) -> None:
        before = event.flow.state.get("bytes", 0)
        await asyncio.sleep(0)
        event.flow.state["bytes"] = before + len(event.data)

    @on("tcp.end")
    async def end(self, event: Event) -> None:
        self.record(event, bytes=event.flow.state["bytes"])


def test_states_and_records_of_flows(capture: MakeCapture) -> None:
    result = run_nf(Counting, capture(connection([b"one", b"three"])))
    assert [one["bytes"] for one in result.records] == [8]


class FailingTask(NetworkFunction):
    """A task of its own fails while its handler would wait for ever."""

    async def start(self) -> None:
        self.create_task(self.fail())

    async def fail(self) -> None:
        await asyncio.sleep(PAUSE)
        raise ConnectionRefusedError("no server")

    @on("packet")
    async def see(self, event: Event) -> None:
        assert event.packet == 1
        await asyncio.Event().wait()


def test_a_task_that_fails_ends_the_run(capture: MakeCapture) -> None:
    with pytest.raises(RunFailed, match="ConnectionRefusedError: no server"):
        run_nf(FailingTask, capture([udp(b"x")]))


class PublishingTask(NetworkFunction):
    """A task of its own alerts before there is any event."""

    publishes = ("alert",)

    async def start(self) -> None:
        self.error = ""
        self.done = asyncio.Event()
        self.create_task(self.speak())

    async def speak(self) -> None:
        while not self.error:
            await asyncio.sleep(0)
            try:
                self.alert(None, "too early")
            except RuntimeError as error:
                self.error = "" if "does not run yet" in str(error) else str(error)
        self.done.set()

    @on("packet")
    async def see(self, _: Event) -> None:
        pass

    async def finish(self) -> Mapping[str, Any]:
        await self.done.wait()
        return {"error": self.error}


def test_a_task_leaves_publishing_to_handlers(capture: MakeCapture) -> None:
    summary = run_nf(PublishingTask, capture([udp(b"x")])).summary
    assert "while it handles an event" in summary["error"]


def test_tasks_are_for_nfs_on_a_loop() -> None:
    class Plain(NetworkFunction):
        """No async def."""

        @on("packet")
        def see(self, event: Event) -> None:
            """Nothing."""

    work = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="write async def for one of its handlers"):
        Plain().create_task(work)
    work.close()


class AwaitsWhatIsCancelled(NetworkFunction):
    """At its third event, and at the end."""

    def start(self) -> None:
        self.seen = 0

    async def await_a_cancelled_task(self) -> None:
        task = self.create_task(asyncio.sleep(PAUSE))
        task.cancel()
        await task

    @on("udp.datagram")
    async def see(self, event: Event) -> None:
        self.seen += 1
        if event.packet == 3:
            await self.await_a_cancelled_task()

    async def finish(self) -> None:
        assert self.seen == 5
        await self.await_a_cancelled_task()


def test_a_task_that_is_cancelled_under_a_handler_is_an_error_of_that_event(
    capture: MakeCapture,
) -> None:
    datagrams = capture([udp(b"x")] * 5)
    result = run_nf(AwaitsWhatIsCancelled, datagrams, on_error="skip")
    told = [(problem.handler, problem.error) for problem in result.problems]
    assert told == [
        ("see", "it awaited a task that was cancelled"),
        ("finish", "it awaited a task that was cancelled"),
    ]
    with pytest.raises(RunFailed, match="it awaited a task that was cancelled"):
        run_nf(AwaitsWhatIsCancelled, datagrams)
