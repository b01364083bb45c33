"""`@on`, `@on_batch`, `@every`: mark a method as a handler.

The decorators check what they are given; `handlers_of` checks the methods when the class is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from microbox.events.catalog import Catalog, UnknownEventType
from microbox.nf.derived import DerivedEvent
from microbox.nf.errors import DefinitionError

Handler = TypeVar("Handler", bound=Callable[..., Any])

MARKS = "__microbox_marks__"
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Subscription:
    """What `@on` and `@on_batch` say."""

    types: tuple[str, ...]
    filter: str
    batch: bool
    switch: bool = False
    initially: bool = True

    @property
    def decorator(self) -> str:
        """Its name, for messages."""
        return "@on_batch" if self.batch else "@on"


@dataclass(frozen=True, slots=True)
class Timer:
    """What `@every` says."""

    period: int  # nanoseconds

    @property
    def decorator(self) -> str:
        """Its name, for messages."""
        return "@every"


Mark = Subscription | Timer


@dataclass(frozen=True, slots=True)
class MarkedHandler:
    """A method and one of its marks."""

    name: str
    mark: Mark
    line: int
    takes_event: bool


def on(
    *types: str | DerivedEvent, filter: str = "", switch: bool = False, initially: bool = True
) -> Callable[[Handler], Handler]:
    """Calls the method once for each event of these types and all types below them.

        @on("tcp.start", filter="tcp dst port 23")
        def refuse(self, event): ...

    `filter` is in libpcap's syntax. `switch=True`: the handler can be switched off and on again for
    one flow, `event.flow.unsubscribe("tcp.data")`. `initially=False`: likewise, and it is off until
    `event.flow.subscribe("tcp.data")`.
    """
    for name, value in (("switch", switch), ("initially", initially)):
        if not isinstance(value, bool):
            raise DefinitionError(f"@on's {name} is True or False, not {_shown(value)}")
    return _subscribing("@on", types, filter, switch=switch or not initially, initially=initially)


def on_batch(*types: str | DerivedEvent, filter: str = "") -> Callable[[Handler], Handler]:
    """Calls the method with a `Batch` of such events: numpy columns over shared memory."""
    return _subscribing("@on_batch", types, filter, batch=True)


def every(seconds: float) -> Callable[[Handler], Handler]:
    """Calls the method each time so many seconds have passed, in packet time.

    At most one call a packet: the event's `missed` says how many were left out.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise DefinitionError(
            f"@every takes a number of seconds, not {_shown(seconds)}: write @every(1.0)"
        )
    period = round(seconds * NANOSECONDS) if seconds < 2**32 else 0
    if period <= 0:
        raise DefinitionError(f"@every({seconds}) is no period: expected more than 0 seconds")
    return _marking(Timer(period))


def _subscribing(
    decorator: str, types: tuple[Any, ...], filter: Any, **options: bool
) -> Callable[[Handler], Handler]:
    types = tuple(one.name if isinstance(one, DerivedEvent) else one for one in types)
    if not types or any(not isinstance(one, str) for one in types):
        wrong = next((one for one in types if not isinstance(one, str)), None)
        came = f", not {_shown(wrong)}" if types else ""
        raise DefinitionError(
            f'{decorator} takes names of event types{came}: write {decorator}("tcp.data")'
        )
    if not isinstance(filter, str):
        raise DefinitionError(
            f"{decorator}'s filter is a str in libpcap's syntax, not {_shown(filter)}: "
            'write filter="tcp port 80"'
        )
    return _marking(Subscription(types, " ".join(filter.split()), **{"batch": False, **options}))


def _marking(mark: Mark) -> Callable[[Handler], Handler]:
    def decorate(handler: Handler) -> Handler:
        if isinstance(handler, staticmethod | classmethod):
            kind = type(handler).__name__
            raise DefinitionError(
                f"{mark.decorator} marks a {kind}: a handler is a plain method, "
                f"def {handler.__name__}(self, event)"
            )
        if not inspect.isfunction(handler):
            raise DefinitionError(
                f"{mark.decorator} marks {_shown(handler)}: it belongs above a method, "
                "def handler(self, event)"
            )
        setattr(handler, MARKS, (mark, *getattr(handler, MARKS, ())))
        return handler

    return decorate


def _shown(value: object) -> str:
    if inspect.isfunction(value):
        return f"the function '{value.__name__}'"
    if isinstance(value, type):
        return f"the class '{value.__name__}'"
    return f"{value!r:.60} ({type(value).__name__})"


def handlers_of(owner: type) -> Iterator[MarkedHandler]:
    """The handlers of a class and its bases, in the order of their definition."""
    names = dict.fromkeys(name for base in reversed(owner.__mro__) for name in vars(base))
    for name in names:
        function = inspect.getattr_static(owner, name)
        for mark in getattr(function, MARKS, ()):
            takes_event = _check_signature(owner, name, function, mark)
            yield MarkedHandler(name, mark, function.__code__.co_firstlineno, takes_event)


def check_types(owner: type, handlers: list[MarkedHandler], catalog: Catalog) -> None:
    """Every type that a handler names exists. Raises DefinitionError."""
    for one in handlers:
        if isinstance(one.mark, Timer):
            continue
        for name in one.mark.types:
            try:
                catalog.resolve(name)
            except UnknownEventType as error:
                raise DefinitionError(
                    f"{where(owner, one.name)}: {error} (a type of your own belongs in "
                    "`declares`, or is an `event(…)` of the class, in every NF that uses it)"
                ) from None


def where(owner: type, name: str) -> str:
    """A handler's name and place: "BlockTelnet.refuse (block_telnet.py:9)"."""
    code = getattr(inspect.getattr_static(owner, name), "__code__", None)
    place = f" ({Path(code.co_filename).name}:{code.co_firstlineno})" if code else ""
    return f"{owner.__name__}.{name}{place}"


def _check_signature(owner: type, name: str, function: Any, mark: Mark) -> bool:
    """True where the handler takes the event; only a timer's may do without."""
    argument = "batch" if isinstance(mark, Subscription) and mark.batch else "event"
    right = f"def {name}(self, {argument}):"
    here = where(owner, name)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"{here}: a handler returns a verdict, it does not yield: {right}")
    parameters = list(inspect.signature(function).parameters.values())
    shown = ", ".join(str(one.replace(annotation=one.empty)) for one in parameters)
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [one for one in parameters if one.default is inspect.Parameter.empty]
    positional = [one for one in parameters if one.kind in plain]
    if isinstance(mark, Timer) and len(required) == len(positional) == 1:
        return False
    two = 2
    takes_two = len(positional) >= two and len(required) <= two
    if not takes_two or any(one.kind not in plain for one in required):
        cause = "; is `self` missing?" if len(positional) == 1 and shown != "self" else "."
        raise DefinitionError(
            f"{here}: {mark.decorator} calls it with (self, {argument}), "
            f"but it takes ({shown}){cause} Write: {right}"
        )
    return True
