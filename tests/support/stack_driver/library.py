"""Finds and loads the shared module that tests/core builds from stack_driver.c."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import cffi

import microbox
from microbox._core import ffi as core
from microbox.events.catalog import built_in

ROOT = Path(__file__).parents[3]
FILE = "tests/core/libstack_driver.so"

# Pointers to structs of microbox._core pass as numbers: the two libraries know each other's
# types by nothing but their layout, which `load` compares.
DECLARATIONS = """
    struct stack_driver_layout {
        uint64_t config, subscription, entry, counters, types, reasons;
    };
    void stack_driver_layout(struct stack_driver_layout *layout);
    void *stack_driver_create(void);
    void stack_driver_destroy(void *driver);
    int stack_driver_open(void *driver, uintptr_t config, uintptr_t subscriptions, uint32_t count,
                          uintptr_t timers, uint32_t timer_count, char error[256]);
    void stack_driver_close(void *driver);
    int stack_driver_send(void *driver, const uint8_t *bytes, const uint8_t *frames, size_t count,
                          size_t batch);
    void stack_driver_share_out(const uint8_t *bytes, const uint8_t *frames, size_t count,
                                uint32_t workers, uint32_t *worker);
    int stack_driver_finish(void *driver);
    uint64_t stack_driver_count(void *driver);
    uint8_t *stack_driver_entries(void *driver);
    uint64_t *stack_driver_data_starts(void *driver);
    uint8_t *stack_driver_data(void *driver);
    uint64_t stack_driver_data_size(void *driver);
    uintptr_t stack_driver_counters(void *driver);
"""

ffi = cffi.FFI()
ffi.cdef(DECLARATIONS)


def _build() -> Path:
    """The build that belongs to the package that runs: sanitized tests need sanitized code."""
    site = Path(microbox.__file__).parents[1]
    variant = site.parent / "build"
    return variant if site.name == "site" and variant.is_dir() else ROOT / "build" / "test"


@functools.cache
def load() -> Any:
    """The library. Raises RuntimeError with what to do where it is missing or of another time."""
    path = Path(os.environ.get("MICROBOX_STACK_DRIVER", _build() / FILE))
    if not path.is_file():
        raise RuntimeError(
            f"{path} is not built: tools/build build/test -Dbenchmarks=false -Dwerror=false"
        )
    library: Any = ffi.dlopen(str(path))
    layout = ffi.new("struct stack_driver_layout *")
    library.stack_driver_layout(layout)
    catalog = built_in()
    ours = {
        "config": core.sizeof("struct mb_stack_config"),
        "subscription": core.sizeof("struct mb_subscription"),
        "entry": core.sizeof("struct mb_entry"),
        "counters": core.sizeof("struct mb_stack_counters"),
        "types": len(catalog.types),
        "reasons": len(catalog.reasons),
    }
    theirs = {name: getattr(layout, name) for name in ours}
    if ours != theirs:
        raise RuntimeError(
            f"{path} is not of the same sources as the installed microbox ({theirs}, {ours}): "
            "run `make test` once, or tools/setup test and tools/build build/test"
        )
    return library
