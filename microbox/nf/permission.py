"""What to write where an NF was refused something by its confinement."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from microbox.confine.domain import Needs, matched_by
from microbox.nf.function import NetworkFunction

SOCKET_FILES = frozenset({"socket.py", "asyncio", "ssl.py"})
PROCESS_NAMES = frozenset({"fork", "_execute_child", "posix_spawn", "system", "execv", "execve"})


@dataclass(frozen=True, slots=True)
class Permissions:
    """What an NF's process may do, and where its class says so."""

    needs: Needs
    place: str  # "class Rules (my_nf.py:12)", or "its class"

    def hint(self, error: BaseException) -> str:
        """The line to write; "" where the error has nothing to do with it."""
        if not isinstance(error, PermissionError):
            return ""
        if isinstance(error.filename, str | bytes | os.PathLike):
            return self._hint_on_file(Path(os.fsdecode(error.filename)).absolute())
        frames = traceback.extract_tb(error.__traceback__)
        if any(Path(frame.filename).name in SOCKET_FILES for frame in frames):
            return f"write network = True in {self.place}"
        if any(frame.name in PROCESS_NAMES or "fork(" in (frame.line or "") for frame in frames):
            return "an NF starts no processes; threads are fine"
        return "an NF is confined: `sandbox: off` in the chain shows whether that is why"

    def _hint_on_file(self, path: Path) -> str:
        is_read = path.exists() and not _covers(self.needs.files, path)
        name = "files" if is_read else "writes"
        hint = f'write {name} = ["{path}"] in {self.place}'
        return f"{hint}, or writes = [...] where it is written" if is_read else hint


def permissions_of(owner: type[NetworkFunction] | None, needs: Needs) -> Permissions:
    """`owner` is None where the class is not known yet."""
    if owner is None:
        return Permissions(needs, "its class")
    try:
        file = Path(inspect.getfile(owner)).name
        line = inspect.getsourcelines(owner)[1]
    except (OSError, TypeError):
        return Permissions(needs, f"class {owner.__name__}")
    return Permissions(needs, f"class {owner.__name__} ({file}:{line})")


def _covers(patterns: Iterable[str], path: Path) -> bool:
    """Whether the file is one that may be read already."""
    return any(path.is_relative_to(found) for found in matched_by(patterns))
