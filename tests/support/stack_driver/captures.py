"""The frames of captures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from microbox._core import ffi, lib
from stack_driver.packets import Frame

ROOT = Path(__file__).parents[3]


def corpus() -> list[Path]:
    """The real captures, which are no part of the repository: none where they are not beside the
    checkout. Smallest first."""
    folder = Path(os.environ.get("MICROBOX_CORPUS", ROOT.parent / "shared" / "corpus")) / "dev"
    captures = [path for path in folder.glob("*") if path.is_file()]
    return sorted(captures, key=lambda path: (path.stat().st_size, path.name))


def frames_of(path: Path) -> Iterator[Frame]:
    """Reads a capture to its end, or up to where it is broken."""
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    with path.open("rb") as file:
        source = lib.mb_source_open(file.fileno(), str(path).encode(), error)
    if source == ffi.NULL:
        raise ValueError(ffi.string(error).decode())
    pool = ffi.buffer(lib.mb_source_pool(source), lib.mb_source_pool_size(source))
    frame = ffi.new("struct mb_frame *")
    while lib.mb_source_read(source, frame, 1):
        data = pool[frame.offset : frame.offset + frame.length]
        yield Frame(data, frame.time, frame.wire_length, frame.link_type)
    lib.mb_source_close(source)
