"""What goes wrong in an NF's own code, in words for people."""

from __future__ import annotations

from collections.abc import Callable

from microbox.channel.messages import Problem
from microbox.nf.errors import UsageError
from microbox.nf.load import frames_to_runtime, own_frames

Hint = Callable[[BaseException], str]
"""What to write so that this error does not come; "" where nothing is known."""


def no_hint(_error: BaseException) -> str:
    """For an NF that is not confined."""
    return ""


class HandlerFailed(Exception):
    """A handler raised and the NF is to stop; the problem was reported."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.error)
        self.problem = problem


def kept_message(name: str, what: str) -> str:
    """What a user should do instead of keeping a view."""
    return (
        f"{name} kept {what} past its return: these are views of shared memory. Keep the values "
        "that you need: event.time, bytes(event.data), batch.time.copy()"
    )


def in_words(error: BaseException, hint: Hint) -> str:
    """The error's kind, what it says, what to write."""
    kind, words = type(error).__name__, str(error)
    said = f"{kind}: {words}" if words else kind
    return f"{said}; {hint(error)}" if hint(error) else said


def problem_of(
    name: str, error: Exception, event: str, severity: str, hint: Hint = no_hint
) -> Problem:
    """What a handler raised, with the frames of the user's own code."""
    if isinstance(error, UsageError):
        return Problem(severity, str(error), name, event, frames_to_runtime(error))
    return Problem(severity, in_words(error, hint), name, event, own_frames(error))
