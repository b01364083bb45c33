"""What can be wrong with an NF: always a sentence that says what to write instead."""

from __future__ import annotations


class DefinitionError(TypeError):
    """A class that is no valid NF. Raised when the class is made."""


class ParameterError(ValueError):
    """Values that do not fit an NF's parameters."""


class UsageError(RuntimeError):
    """A running NF did what it must not: the sentence says what, and what to write."""


class KeptError(UsageError):
    """An event, or a view of its bytes, was used or kept after its handler had returned."""
