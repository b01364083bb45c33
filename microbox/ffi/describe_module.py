"""What a user's module of the stack says of itself.

    python -P -m microbox.ffi.describe_module FILE

Opening a shared object runs its code, so that is done here, in a process of its own. Prints one
JSON document: the module, or `{"error": SENTENCE}`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from microbox._core import ffi, lib


def describe(path: str) -> dict[str, Any]:
    """Name, sentence, transport, bits of the modules it needs, bytes that it keeps of a flow, and
    event types with fields."""
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    loaded = lib.mb_module_open(path.encode(), error)
    if loaded == ffi.NULL:
        return {"error": _text(error)}
    try:
        return {
            "name": _text(lib.mb_module_name(loaded)),
            "sentence": _text(lib.mb_module_sentence(loaded)),
            "transport": lib.mb_module_transport(loaded),
            "needs": lib.mb_module_needs(loaded),
            "flow_state_size": lib.mb_module_flow_state_size(loaded),
            "types": [_type(loaded, one) for one in range(lib.mb_module_type_count(loaded))],
        }
    finally:
        lib.mb_module_close(loaded)


def _type(loaded: Any, number: int) -> dict[str, Any]:
    return {
        "name": _text(lib.mb_module_type_name(loaded, number)),
        "sentence": _text(lib.mb_module_type_sentence(loaded, number)),
        "fields": [
            [
                _text(lib.mb_module_field_name(loaded, number, field)),
                _text(lib.mb_module_field_type(loaded, number, field)),
            ]
            for field in range(lib.mb_module_field_count(loaded, number))
        ],
    }


def _text(characters: Any) -> str:
    text: bytes = ffi.string(characters)
    return text.decode(errors="replace")


if __name__ == "__main__":
    print(json.dumps(describe(sys.argv[1])))
