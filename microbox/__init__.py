"""Chains of network functions over one shared protocol stack.

What an NF's author needs is here: derive from `NetworkFunction`, mark methods with `on`, `on_batch`
and `every`, return a verdict. So is what scripts and notebooks need: `read`, `events` and `run`.
The names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbox.api.columns import Columns
    from microbox.api.events import events
    from microbox.api.read import read
    from microbox.api.results import Results
    from microbox.api.run import run
    from microbox.nf.batch import Batch
    from microbox.nf.community_id import community_id, icmp_ports
    from microbox.nf.decorators import every, on, on_batch
    from microbox.nf.derived import event
    from microbox.nf.errors import ParameterError
    from microbox.nf.event import Event
    from microbox.nf.flow import Flow
    from microbox.nf.function import NetworkFunction
    from microbox.nf.parameters import parameter
    from microbox.nf.snapshot import TcpState
    from microbox.nf.verdict import DROP, DROP_FLOW, PASS, PASS_FLOW, RESET, Verdict
    from microbox.runtime.errors import RunError

    __version__: str

__all__ = [
    "DROP",
    "DROP_FLOW",
    "PASS",
    "PASS_FLOW",
    "RESET",
    "Batch",
    "Columns",
    "Event",
    "Flow",
    "NetworkFunction",
    "ParameterError",
    "Results",
    "RunError",
    "TcpState",
    "Verdict",
    "__version__",
    "community_id",
    "event",
    "events",
    "every",
    "icmp_ports",
    "on",
    "on_batch",
    "parameter",
    "read",
    "run",
]

_HOMES = {
    "Batch": "microbox.nf.batch",
    "community_id": "microbox.nf.community_id",
    "icmp_ports": "microbox.nf.community_id",
    "Columns": "microbox.api.columns",
    "Results": "microbox.api.results",
    "RunError": "microbox.runtime.errors",
    "Event": "microbox.nf.event",
    "Flow": "microbox.nf.flow",
    "TcpState": "microbox.nf.snapshot",
    "NetworkFunction": "microbox.nf.function",
    "ParameterError": "microbox.nf.errors",
    "on": "microbox.nf.decorators",
    "on_batch": "microbox.nf.decorators",
    "event": "microbox.nf.derived",
    "every": "microbox.nf.decorators",
    "parameter": "microbox.nf.parameters",
    "read": "microbox.api.read",
    "run": "microbox.api.run",
    "Verdict": "microbox.nf.verdict",
    "PASS": "microbox.nf.verdict",
    "DROP": "microbox.nf.verdict",
    "DROP_FLOW": "microbox.nf.verdict",
    "PASS_FLOW": "microbox.nf.verdict",
    "RESET": "microbox.nf.verdict",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("microbox")
    if name == "events":  # a folder, which can be called (microbox/events/__init__.py)
        return importlib.import_module("microbox.events")
    if name not in _HOMES:
        raise AttributeError(f"module 'microbox' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
