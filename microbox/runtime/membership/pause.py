"""A lane stands still: all its NFs at one event, nothing in flight."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

from microbox.channel.messages import Pause, Paused, Prepare, Prepared, Resume, Resumed
from microbox.runtime.lane import Lane
from microbox.runtime.processes.supervisor import ChildError, ChildHangs

INPUT_IS_OVER = "the input is over"
ANSWER_PATIENCE = 10.0  # seconds; the worker looks for messages each 20 ms


class ChangeError(Exception):
    """NFs cannot come or go as asked; the chain goes on as it was. Says why in a sentence."""


class LeftOutError(ChangeError):
    """It failed when NFs had left for others that could not take their places: they are gone."""


class InputOverError(ChangeError):
    """There are no more packets for who would come."""


@contextlib.asynccontextmanager
async def paused(lane: Lane, patience: float) -> AsyncIterator[int]:
    """While this holds, nothing moves; the head of the log, where all NFs stand. `patience`: in
    seconds, for the NFs that have to come there.

    Raises ChangeError where there is no pause, and at its end where the worker refused what it was
    told in it.
    """
    try:
        head = await _pause(lane, patience)
    except ChildHangs:
        await _resume(lane)
        raise ChangeError(
            f"the chain does not come to rest within {patience:g} s: an NF is that far behind"
        ) from None
    except ChildError as error:
        if lane.done is not None:
            raise InputOverError(INPUT_IS_OVER) from None
        raise ChangeError(f"the {error}") from None
    try:
        yield head
    finally:
        refused = await _resume(lane)
    if refused:
        raise ChangeError(refused)


@contextlib.asynccontextmanager
async def all_paused(lanes: Iterable[Lane], patience: float) -> AsyncIterator[list[int]]:
    """As `paused`, for several lanes; their heads."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(paused(lane, patience)) for lane in lanes]


async def prepared(lanes: Iterable[Lane]) -> None:
    """In a pause of all these lanes. Raises ChangeError where a worker could not do what it was
    told in it, ChildError where it does not answer."""
    refused = []
    for lane in lanes:
        await lane.worker.send(Prepare())
        answer = await lane.answers.expect(Prepared, ANSWER_PATIENCE, "it changes")
        if answer.error:
            who = "" if lane.partition.is_whole else f"{lane.worker.name}: "
            refused.append(f"{who}{answer.error}")
    if refused:
        raise ChangeError("\n".join(refused))


async def _pause(lane: Lane, patience: float) -> int:
    await lane.worker.send(Pause())
    answer = await lane.answers.expect(Paused, patience, "NFs read what there is")
    if answer.is_over:
        raise InputOverError(INPUT_IS_OVER)
    return answer.head


async def _resume(lane: Lane) -> str:
    """Why the worker did not do as it was told in the pause."""
    try:
        await lane.worker.send(Resume())
        answer = await lane.answers.expect(Resumed, ANSWER_PATIENCE, "it goes on")
    except ChildError as error:
        return f"the {error}"
    return answer.error
