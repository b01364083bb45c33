"""What a handler of single events costs most, in C (ffi/event_view.c)."""

from collections.abc import Callable
from typing import Any

class Field:
    def __init__(self, offset: int, format: str, doc: str | None = None) -> None: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any: ...
    def __set__(self, instance: Any, value: Any, /) -> None: ...

class Deliveries:
    index: int
    call: tuple[Callable[[Any], Any], Any, str]
    verdict: Any
    views: list[Any]
    was_called: bool
    def bind(
        self,
        array: int,
        counters: int,
        calls: dict[int, Any],
        left: dict[int, Any],
        views: list[Any],
        passing: Any,
        /,
    ) -> None: ...
    def show(self, index: int, /) -> None: ...
    def run(self, start: int, end: int, /) -> int: ...

class View:
    _deliveries: Any
    def __init__(self, deliveries: Deliveries) -> None: ...
