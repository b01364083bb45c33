"""Why a run did not begin, or has no results."""

from __future__ import annotations

FAILED = 1
USAGE = 2
SIGNALLED = 128
"""Exit statuses: the run failed; usage, configuration or input is wrong; plus a signal's number."""


class RunError(Exception):
    """There is nothing to report. `status` is for the process to exit with."""

    def __init__(self, message: str, *, status: int = FAILED, detail: str = "") -> None:
        """`message` is one sentence; `detail` a traceback, or more."""
        super().__init__(message)
        self.status = status
        self.detail = detail


class InputError(RunError):
    """The capture cannot be read."""

    def __init__(self, message: str) -> None:
        """`message` names the file."""
        super().__init__(message, status=USAGE)


class Interrupted(RunError):
    """A signal came before packets flowed."""

    def __init__(self, signal_number: int) -> None:
        """Exit status as shells have it."""
        super().__init__("interrupted before the first packet", status=SIGNALLED + signal_number)
