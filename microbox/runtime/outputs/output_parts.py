"""The output of several workers: each writes a part, with the numbers of its packets; at the end
they are one capture, in the order in which one worker would have written it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from microbox._core import ffi, lib
from microbox.runtime.errors import InputError


def open_part(output: Path) -> int:
    """A descriptor of a file without a name, on the output's file system where that can be, for the
    caller to close. Raises InputError."""
    for directory in (output.parent, None):
        try:
            with tempfile.TemporaryFile(dir=directory) as part:
                return os.dup(part.fileno())
        except OSError as error:
            why = error.strerror
    raise InputError(f"{output}: a worker's part of it cannot be written: {why}")


def merge_output(parts: Sequence[int], output: int, link_type: int) -> str:
    """Writes all parts to `output`. What went wrong, in words; "" for nothing."""
    complaint = ffi.new("char[]", lib.MB_ERROR_SIZE)
    sink = lib.mb_sink_open(os.dup(output), link_type, complaint)
    if sink == ffi.NULL:
        return _text(complaint)
    failed = lib.mb_merge_parts(list(parts), len(parts), sink, complaint) != 0
    status = lib.mb_sink_close(sink)
    if failed:
        return _text(complaint)
    return os.strerror(-status) if status else ""


def _text(characters: object) -> str:
    text: bytes = ffi.string(characters)
    return text.decode(errors="replace")
