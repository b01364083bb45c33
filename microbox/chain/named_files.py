"""Files that a chain names: whether they are there, and fit for what they are named for."""

from __future__ import annotations

import difflib
from pathlib import Path

from microbox.chain.model import Input

GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952 section 2.3.1
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878 section 3.1.1
MAGIC_SIZE = 4


def near_file(path: Path) -> str:
    """The hint that names the file beside it whose name is nearest, "" where none is near."""
    try:
        names = {entry.name: entry for entry in path.parent.iterdir()}
    except OSError:
        return ""
    nearest = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean '{path.with_name(nearest[0])}'?" if nearest else ""


def missing_file(path: Path, expected: str) -> tuple[str, str]:
    """Message and hint for what is no file but was to be one."""
    kind = "is a directory" if path.is_dir() else "does not exist"
    return f"'{path}' {kind}; expected {expected}", near_file(path)


def missing_capture(path: Path) -> tuple[str, str]:
    """Message and hint where there is no capture to read; "", "" where there may be one."""
    if path.exists():
        return "", ""
    return f"no such file '{path}'; expected a capture file (pcap or pcapng)", near_file(path)


def is_pipe(given: Input) -> bool:
    """Standard input, or a named pipe."""
    return given.is_piped or (len(given.paths) == 1 and given.paths[0].is_fifo())


def is_put_into_memory(given: Input) -> bool:
    """True where it is not one file, or a packed one, which cannot be mapped as it is. One that
    cannot be read is complained of elsewhere."""
    if given.is_piped or len(given.paths) > 1 or any(path.is_dir() for path in given.paths):
        return True
    return any(_is_packed(path) for path in given.paths if path.is_file())


def _is_packed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(MAGIC_SIZE).startswith((GZIP_MAGIC, ZSTD_MAGIC))
    except OSError:
        return False


def unwritable(path: Path, capture: Input | None) -> str:
    """Why the output cannot be written there; "" where it can. `capture`: the input."""
    if path.is_dir():
        return f"'{path}' is a directory; expected a capture file to write"
    if not path.parent.is_dir():
        return f"'{path.parent}' is no directory; expected a capture file to write in one"
    if capture is None or capture.is_piped or not path.exists():
        return ""
    if not any(_holds(one, path) for one in capture.paths):
        return ""
    return f"'{path}' is the input; expected another file to write"


def _holds(read: Path, path: Path) -> bool:
    """True where a path of the input is this file, or the directory that it is in."""
    return path.parent.samefile(read) if read.is_dir() else path.samefile(read)
