"""What an NF sends out: events, alerts, lines of its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbox._core import ffi
from microbox.events.catalog import EventType, UnknownEventType
from microbox.nf.errors import UsageError
from microbox.nf.event import Deliveries, Event
from microbox.nf.function import NetworkFunction
from microbox.nf.manifest import manifest_of
from microbox.nf.publication import Packer
from microbox.nf.reader import Reader
from microbox.nf.records import RecordLog

SEVERITIES = range(1, 5)
ALERT = "alert"


class Publisher:
    """What an NF sees of its runtime while it runs (function.Runtime)."""

    def __init__(
        self,
        function: NetworkFunction,
        reader: Reader,
        deliveries: Deliveries,
        *,
        takes_batches: bool,
        records: RecordLog | None,
    ) -> None:
        """`deliveries` are those that are being handled. With `takes_batches` all publications are
        made from the position that the reader was given for the whole poll."""
        self._function = function
        self._owner = type(function)
        self._reader = reader
        self._catalog = deliveries.catalog
        self._deliveries = deliveries
        self._takes_batches = takes_batches
        self._records = records
        self._publishes = {
            self._catalog.resolve(name) for name in manifest_of(self._owner).publishes
        }
        self._packers: dict[EventType, Packer] = {}

    @property
    def time(self) -> int:
        """Packet time of the event that is being handled, else of the last one; 0 before the first
        one."""
        if self._deliveries.is_at_rest:
            return self._deliveries.last_time
        entry = self._deliveries.entry
        return int(entry.time) if entry else 0

    def publish(self, type_name: str, cause: Event | None, fields: Mapping[str, Any]) -> None:
        """See NetworkFunction.publish."""
        try:
            found = self._catalog.resolve(type_name)
        except UnknownEventType as error:
            raise UsageError(f"publish: {error}") from None
        if found not in self._publishes:
            raise UsageError(
                f"publish('{type_name}'): the type is not declared; write "
                f'publishes = ["{found.name}"] in {self._owner.__name__}'
            )
        self._send(found, cause, fields)

    def _send(self, found: EventType, cause: Event | None, fields: Mapping[str, Any]) -> None:
        if cause is not None and cause._deliveries is not self._deliveries:
            raise UsageError("the cause of a publication is the event that is being handled")
        if self._deliveries.is_at_rest:
            raise UsageError(
                "an NF publishes and alerts while it handles an event: a task of its own leaves "
                "word for a handler"
            )
        entry = self._deliveries.entry
        if not entry:
            raise UsageError("nothing can be published before the first event")
        index = self._deliveries.index
        delivery = self._deliveries.array[index]
        packer = self._packers.get(found)
        if packer is None:
            packer = self._packers[found] = Packer(found)
        inherited = bytes(ffi.buffer(delivery.payload, delivery.payload_length))
        cause_type = self._catalog.by_number(entry.type)
        payload = packer.pack(fields, cause_type, inherited, entry.flags)
        if not self._takes_batches:
            self._reader.set_position(int(delivery.position))
        self._reader.publish(self._deliveries.array + index, found.number, found.name, payload)

    def alert(self, event: Event | None, message: str, *, signature: str, severity: int) -> None:
        """See NetworkFunction.alert."""
        alert = self._catalog.resolve(ALERT)
        if alert not in self._publishes:
            raise UsageError(
                f'alert: write publishes = ["alert"] in {self._owner.__name__}: its own module '
                "never calls self.alert"
            )
        if severity not in SEVERITIES:
            raise UsageError(f"alert: severity is 1, 2, 3 or 4, not {severity!r:.60}")
        fields = {
            "message": message,
            "signature": signature,
            "nf": self._function.name,
            "severity": severity,
        }
        self._send(alert, event, fields)
        self._reader.counters.alerts += 1

    def record(self, event: Event | None, fields: Mapping[str, Any]) -> None:
        """See NetworkFunction.record."""
        if self._records is not None:
            self._records.write(self.time if event is None else event.time, event, fields)
            self._reader.counters.records += 1
