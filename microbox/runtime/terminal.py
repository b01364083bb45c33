"""The terminal that a run was started in: whether it is still there."""

from __future__ import annotations

import os
import signal

CONTROLLING_TERMINAL = "/dev/tty"


class Terminal:
    """What SIGHUP means: the kernel sends it when the terminal is closed, people and logrotate send
    it to have logs opened anew."""

    def __init__(self) -> None:
        """To be made before SIGHUP is handled. Under `nohup`, where it is ignored, there counts as
        no terminal."""
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._was_there = not is_ignored and _is_there()

    @property
    def is_closed(self) -> bool:
        """True where there was one, and is none any more."""
        return self._was_there and not _is_there()


def _is_there() -> bool:
    """A process that has lost its controlling terminal cannot open it: tty(4)."""
    try:
        os.close(os.open(CONTROLLING_TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
