"""What goes wrong in an NF's own code, in words for people."""

from __future__ import annotations

from microbox.channel.messages import Problem
from microbox.nf.errors import UsageError
from microbox.nf.load import frames_to_runtime, own_frames


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


def problem_of(name: str, error: Exception, event: str, severity: str) -> Problem:
    """What a handler raised, with the frames of the user's own code."""
    if isinstance(error, UsageError):
        return Problem(severity, str(error), name, event, frames_to_runtime(error))
    return Problem(severity, f"{type(error).__name__}: {error}", name, event, own_frames(error))
