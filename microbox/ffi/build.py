"""Writes the C source of the extension module `microbox._core` (cffi, API mode).

    python build.py SOURCE_ROOT OUTPUT.c

The headers are plain enough for cffi once the preprocessor's lines are dropped; the struct of
counters is made from the rows of counters.def. Nothing is declared twice.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cffi

# In the order of their dependencies.
HEADERS = (
    "microbox/events/payloads.h",
    "microbox/bus/layout.h",
    "microbox/bus/area.h",
    "microbox/bus/frame_pool.h",
    "microbox/bus/version.h",
    "microbox/bus/wait.h",
    "microbox/bus/reader.h",
    "microbox/bus/soundness.h",
    "microbox/bus/sojourn.h",
    "microbox/bus/trace.h",
    "microbox/io/source.h",
    "microbox/io/sink.h",
    "microbox/io/join.h",
    "microbox/io/merge.h",
    "microbox/io/filter.h",
    "microbox/stack/caps.h",
    "microbox/stack/counters.h",
    "microbox/stack/flows/flow_inquiry.h",
    "microbox/stack/flows/hosts.h",
    "microbox/stack/module_load.h",
    "microbox/stack/conditions/condition.h",
    "microbox/stack/share.h",
    "microbox/stack/stack.h",
    "microbox/stack/worker.h",
    "microbox/stack/memory.h",
    "microbox/stack/worker_memory.h",
    "microbox/stack/conditions/derivations.h",
    "microbox/c_nf/abi.h",
    "microbox/c_nf/open.h",
    "microbox/c_nf/publication.h",
    "microbox/c_nf/record_log.h",
    "microbox/c_nf/runner.h",
    "microbox/confine/undumpable.h",
    "microbox/confine/identity.h",
    "microbox/confine/landlock.h",
    "microbox/confine/seccomp.h",
    "microbox/ffi/process.h",
    "microbox/ffi/gather.h",
)

COUNTER_ROW = re.compile(r"^COUNTER\((\w+),", re.MULTILINE)


def without_preprocessor(text: str) -> str:
    """The declarations of a header: its text without the lines that begin with '#'."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def with_counters(declarations: str, rows: str) -> str:
    """counters.h with the rows of counters.def expanded, as the preprocessor would."""
    fields = "".join(f"    uint64_t {field};\n" for field in COUNTER_ROW.findall(rows))
    opening = "struct mb_stack_counters {\n"
    return declarations.replace(opening, opening + fields)


def make(root: Path, output: Path) -> None:
    """Writes the extension's C source to `output`."""
    builder = cffi.FFI()
    rows = (root / "microbox/stack/counters.def").read_text()
    for header in HEADERS:
        declarations = without_preprocessor((root / header).read_text())
        builder.cdef(with_counters(declarations, rows))
    includes = "\n".join(f'#include "{header}"' for header in HEADERS)
    builder.set_source("microbox._core", includes)
    builder.emit_c_code(str(output))


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
