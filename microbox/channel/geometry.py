"""The shape of an NF's area as the C core takes it."""

from __future__ import annotations

from typing import Any

from microbox._core import ffi
from microbox.channel.messages import AreaShape


def geometry_of(shape: AreaShape) -> Any:
    """The shape as struct mb_nf_geometry."""
    return ffi.new(
        "struct mb_nf_geometry *",
        {
            "log_slots": shape.log_slots,
            "own_slots": shape.own_slots,
            "ring_bytes": shape.ring_bytes,
            "command_slots": shape.command_slots,
            "is_inline": shape.is_inline,
            "rewrites": shape.rewrites,
            "editor": shape.editor,
            "edit_bytes": shape.edit_bytes,
        },
    )
