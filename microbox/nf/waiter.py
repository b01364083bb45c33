"""Waiting for events without holding up an event loop: a thread sleeps, an eventfd wakes the loop.

What wakes an NF is a futex in memory that it may only read (bus/wait.h). epoll cannot wait for
that, so a thread does, in C and without Python's lock, and then writes the eventfd that the loop
watches. The descriptor stays in this process: nobody else could wake the NF in vain, or take its
wake-ups away (docs/decisions/0026).

The reader belongs to one thread at a time: to this one from `wait` on until it returns.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class Waiter:
    """Calls `poll`, which sleeps, in its thread. Made inside the loop that waits."""

    def __init__(self, poll: Callable[[], int]) -> None:
        self._poll = poll
        self._asked: SimpleQueue[bool] = SimpleQueue()  # False: the thread is to end
        self._answers: SimpleQueue[int | Exception] = SimpleQueue()
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_answered = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._eventfd, self._wake)
        self._thread = threading.Thread(target=self._serve, name="wait for events", daemon=True)
        self._thread.start()

    async def wait(self) -> int:
        """What `poll` returns; raises what it raises. Not to be cancelled."""
        self._is_answered.clear()
        self._asked.put(True)
        await self._is_answered.wait()
        answer = self._answers.get_nowait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the thread, which returns from its last `poll` first."""
        self._asked.put(False)
        self._thread.join()
        self._loop.remove_reader(self._eventfd)
        os.close(self._eventfd)

    def _serve(self) -> None:
        while self._asked.get():
            try:
                self._answers.put(self._poll())
            except Exception as error:
                self._answers.put(error)
            os.eventfd_write(self._eventfd, 1)

    def _wake(self) -> None:
        os.eventfd_read(self._eventfd)
        self._is_answered.set()
