"""What a child answers while packets flow: one task reads its channel, others wait here."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from microbox.channel.messages import Message
from microbox.runtime.processes.supervisor import ChildError, ChildHangs

Answer = TypeVar("Answer")


class Answers:
    """Of one child, in the order in which they came."""

    def __init__(self, name: str) -> None:
        """`name` is the child's, for messages to people."""
        self._name = name
        self._queue: asyncio.Queue[Message | ChildError] = asyncio.Queue()

    def put(self, message: Message) -> None:
        """An answer has come."""
        self._queue.put_nowait(message)

    def end(self, error: ChildError) -> None:
        """No more will come: who waits is told why."""
        self._queue.put_nowait(error)

    async def expect(self, wanted: type[Answer], patience: float, step: str) -> Answer:
        """The next answer of this kind; others are passed over. `step` says what the child should
        be doing. Raises ChildHangs, or why no answer will come."""
        try:
            async with asyncio.timeout(patience):
                return await self._next(wanted)
        except TimeoutError:
            raise ChildHangs(
                self._name, f"hangs: no answer for {patience:g} s while {step}"
            ) from None

    async def _next(self, wanted: type[Answer]) -> Answer:
        while True:
            answer = await self._queue.get()
            if isinstance(answer, ChildError):
                self._queue.put_nowait(answer)  # for who asks next
                raise answer
            if isinstance(answer, wanted):
                return answer
