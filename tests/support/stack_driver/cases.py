"""How much chance tests try."""

from __future__ import annotations

import os


def cases(usual: int) -> int:
    """Random cases that a property test tries: so many, or as many as MICROBOX_CASES says (`make
    nightly`): `@settings(max_examples=cases(2000), deadline=None)`."""
    return int(os.environ.get("MICROBOX_CASES", usual))
