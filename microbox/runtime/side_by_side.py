"""Several things that are waited for at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

Result = TypeVar("Result")


async def all_of(tasks: Iterable[Awaitable[Result]]) -> list[Result]:
    """All results, or the first error once all have come to an end."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return [reraised(result) for result in results]


def reraised(result: Result | BaseException) -> Result:
    """The result, where it is one."""
    if isinstance(result, BaseException):
        raise result
    return result
