"""What can happen: the hierarchy of event types, the reasons, and the payloads' fields.

Declared once, in `types.def`, `reasons.def` and `payloads.h`; `catalog` reads the same text that C
expands.

Called, the package gives the events of a capture: `microbox.events("a.pcap", "tcp.end")`. That
function has the folder's name, and Python binds a folder that is imported over anything else.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

FUNCTION = "microbox.api.events"


class _Package(ModuleType):
    def __call__(self, capture: Any, *types: Any, **options: Any) -> Any:
        return importlib.import_module(FUNCTION).events(capture, *types, **options)


sys.modules[__name__].__class__ = _Package
