"""A capture that is read: which types, which of their events, by what rules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from microbox.api.in_process import AnyNF, InProcess, Options, Unit, unit_of
from microbox.chain.errors import ChainErrors
from microbox.chain.model import ChainNF
from microbox.chain.stack_settings import StackSettings
from microbox.events.catalog import UnknownEventType, built_in
from microbox.nf.batch import Batch
from microbox.nf.decorators import on_batch
from microbox.nf.derived import DerivedEvent
from microbox.nf.function import NetworkFunction
from microbox.nf.manifest import manifest_of
from microbox.runtime.inputs.capture import open_capture

EventName = str | DerivedEvent
"""The name of an event type, or what `microbox.event` made."""

Take = Callable[[Batch], None]


@dataclass(frozen=True)
class Source:
    """What is read. Raises TypeError and ValueError where that makes no sense."""

    capture: str | os.PathLike[str]
    filter: str = ""
    count: int | None = None
    nfs: Sequence[AnyNF] = ()
    stack: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.capture, str | os.PathLike):
            raise TypeError(f"a capture is the path of a file, not {self.capture!r:.60}")
        if not isinstance(self.filter, str):
            raise TypeError(
                f'filter is a str in libpcap\'s syntax, not {self.filter!r:.60}: "tcp port 80"'
            )
        if self.count is not None and self.count < 1:
            raise ValueError(f"count is a number of packets from 1 on, not {self.count}")

    @contextmanager
    def opened(
        self, groups: Sequence[Sequence[EventName]], takes: Sequence[Take]
    ) -> Iterator[InProcess]:
        """The run that gives each group's batches to its `take`; planned, and not started. Raises
        ValueError for what cannot be read so, RunError for a capture that cannot be."""
        capture = open_capture(Path(self.capture))
        try:
            units = [unit_of(nf, {}) for nf in self.nfs]
            led = _led(groups, takes, self.filter, units)
            yield self._planned([*units, led], led, capture.fd)
        finally:
            os.close(capture.fd)

    def _planned(self, units: list[Unit], led: Unit, capture: int) -> InProcess:
        try:
            settings = StackSettings.model_validate(dict(self.stack))
            options = Options(settings=settings, packet_limit=self.count or 0)
            return InProcess(units, led, capture, os.fspath(self.capture), options)
        except ChainErrors as errors:
            words = "; ".join(
                f"{one.message}{'; ' if one.hint else ''}{one.hint}" for one in errors.errors
            )
            raise ValueError(words) from None
        except ValidationError as error:
            words = "; ".join(
                f"stack.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
            )
            raise ValueError(words) from None


def name_of(event: EventName) -> str:
    """The name that an event type goes by."""
    return event if isinstance(event, str) else event.name


def _led(
    groups: Sequence[Sequence[EventName]],
    takes: Sequence[Take],
    expression: str,
    units: Sequence[Unit],
) -> Unit:
    """An NF with a handler of batches for each group. Raises ValueError for an unknown type."""
    declares = {one.name: one.fields for unit in units for one in manifest_of(unit.owner).declares}
    _check_names([one for group in groups for one in group], units)
    methods = {
        f"take_{number}": on_batch(*types, filter=expression)(_method(take))
        for number, (types, take) in enumerate(zip(groups, takes, strict=True))
    }
    derived = [one for group in groups for one in group if isinstance(one, DerivedEvent)]
    members = {"declares": declares, "inline": False, **methods}
    members |= {f"event_{number}": one for number, one in enumerate(derived)}
    owner = type("Reader", (NetworkFunction,), members)
    return Unit(ChainNF("(reader)", Path(__file__)), owner)


def _check_names(events: Sequence[EventName], units: Sequence[Unit]) -> None:
    """Names of the catalog, and of types that NFs in front declare."""
    if not events:
        raise ValueError("no event type is named: expected one such as 'tcp.end'")
    declared = [one for unit in units for one in manifest_of(unit.owner).declares]
    catalog = built_in().with_user_types({one.name: one for one in declared}.values())
    for event in events:
        if not isinstance(event, str | DerivedEvent):
            raise TypeError(f"an event type is named by a str such as 'tcp.end', not {event!r:.60}")
        try:
            if isinstance(event, str):
                catalog.resolve(event)
        except UnknownEventType as error:
            raise ValueError(str(error)) from None


def _method(take: Take) -> Callable[[Any, Any], None]:
    def take_batch(_self: Any, batch: Batch) -> None:
        take(batch)

    return take_batch
