"""What can be wrong with an NF: always a sentence that says what to write instead."""

from __future__ import annotations


class DefinitionError(TypeError):
    """A class that is no valid NF. Raised when the class is made."""


class DeclarationError(ValueError):
    """Values that do not fit the declarations of an NF's parameters."""


class ParameterError(ValueError):
    """A parameter's value that an NF cannot work with. For its start() to raise: the run is
    refused, and the message stands where the chain's file sets the parameter.
    """

    def __init__(self, parameter: str, reason: str) -> None:
        """`parameter` is its name; `reason` says what is wrong, and what was expected."""
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter


class UsageError(RuntimeError):
    """A running NF did what it must not: the sentence says what, and what to write."""


class KeptError(UsageError):
    """An event, or a view of its bytes, was used or kept after its handler had returned."""


class LoadError(Exception):
    """A file that is no NF: a sentence, the traceback of the user's own frames or what a compiler
    said, what to do."""

    def __init__(self, message: str, traceback: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback
        self.hint = hint
