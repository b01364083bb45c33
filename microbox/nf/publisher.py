"""What an NF sends out: events, alerts, lines of its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from microbox._core import ffi
from microbox.events.catalog import EventType, UnknownEventType
from microbox.nf.deliveries import Deliveries
from microbox.nf.errors import UsageError
from microbox.nf.event import Event
from microbox.nf.function import NetworkFunction
from microbox.nf.manifest import manifest_of
from microbox.nf.publication import Packer
from microbox.nf.reader import Reader
from microbox.nf.records import RecordLog, place_of

if TYPE_CHECKING:
    from microbox.nf.batch import Batch
    from microbox.nf.batch_publication import BatchPacker, Indexes

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
        self._batch_packers: dict[EventType, BatchPacker] = {}

    @property
    def time(self) -> int:
        """Packet time of the event that is being handled, else of the last one; 0 before the first
        one."""
        if self._deliveries.is_at_rest:
            return self._deliveries.last_time
        entry = self._deliveries.entry
        return int(entry.time) if entry else 0

    @property
    def _place(self) -> int:
        """Of the event that is being handled; 0 before the first one."""
        deliveries = self._deliveries
        if not deliveries.entry:
            return 0
        return place_of(self._reader.handle, deliveries.array + deliveries.index)

    def publish(self, type_name: str, cause: Event | None, fields: Mapping[str, Any]) -> None:
        """See NetworkFunction.publish."""
        self._send(self._declared("publish", type_name), cause, fields)

    def publish_batch(
        self, type_name: str, causes: Batch | Event, rows: Any, columns: Mapping[str, Any]
    ) -> None:
        """See NetworkFunction.publish_batch."""
        found = self._declared("publish_batch", type_name)
        self._check_cause(causes)
        packer = self._batch_packers.get(found)
        if packer is None:
            from microbox.nf.batch_publication import BatchPacker  # loads numpy

            packer = self._batch_packers[found] = BatchPacker(found, self._catalog)
        indexes = self._indexes(causes, rows, packer.count(columns))
        if not len(indexes):
            return
        payloads, lengths = packer.pack(self._deliveries.array, indexes, columns)
        self._go_to(self._deliveries.index)
        self._reader.publish_many(indexes, lengths, payloads, (found.number, found.name))

    def _indexes(self, causes: Batch | Event, rows: Any, count: int) -> Indexes:
        """Of the causes among the poll's deliveries, one for each publication."""
        import numpy as np

        if not isinstance(causes, Event):
            return causes.indexes(rows)
        if rows is not None:
            raise UsageError("publish_batch: an event has no rows; all have it as their cause")
        return np.full(count, self._deliveries.index, np.uint32)

    def _declared(self, verb: str, type_name: str) -> EventType:
        try:
            found = self._catalog.resolve(type_name)
        except UnknownEventType as error:
            raise UsageError(f"{verb}: {error}") from None
        if found not in self._publishes:
            raise UsageError(
                f"{verb}('{type_name}'): the type is not declared; write "
                f'publishes = ["{found.name}"] in {self._owner.__name__}'
            )
        return found

    def _check_cause(self, cause: Batch | Event | None) -> None:
        if cause is not None and getattr(cause, "_deliveries", None) is not self._deliveries:
            raise UsageError("the cause of a publication is the event that is being handled")
        if self._deliveries.is_at_rest:
            raise UsageError(
                "an NF publishes and alerts while it handles an event: a task of its own leaves "
                "word for a handler"
            )

    def _go_to(self, index: int) -> None:
        """What is published now is so from where this delivery was."""
        if not self._takes_batches:
            self._reader.set_position(int(self._deliveries.array[index].position))

    def _send(self, found: EventType, cause: Event | None, fields: Mapping[str, Any]) -> None:
        self._check_cause(cause)
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
        self._go_to(index)
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
            time = self.time if event is None else event.time
            place = self._place if self._records.is_part else 0
            self._records.write(time, event, fields, place)
            self._reader.counters.records += 1
