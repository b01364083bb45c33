"""From the columns of `publish_batch` to the bytes of many payloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbox._core import ffi, lib
from microbox.events.catalog import Catalog, EventType
from microbox.ffi.layout import Place, payload_layout
from microbox.ffi.views import payload_dtype
from microbox.nf.errors import UsageError
from microbox.nf.publication import address_bytes, common_prefix, text_bytes, unknown_field

Indexes = NDArray[np.uint32]


class BatchPacker:
    """Makes payloads of one type."""

    def __init__(self, of: EventType, catalog: Catalog) -> None:
        self._type = of
        self._size = payload_layout(of).size
        self._places = {place.field.name: place for place in payload_layout(of).places}
        self._inheritance = ffi.new("struct mb_inheritance[]", lib.MB_TYPES_MAX)
        for one in catalog.types:
            size, is_turned = common_prefix(of, one)
            self._inheritance[one.number] = {"size": size, "is_turned": is_turned}

    def pack(
        self, deliveries: Any, causes: Indexes, columns: Mapping[str, Any]
    ) -> tuple[Any, Indexes]:
        """All payloads one behind the other, and the length of each: what they have in common with
        their causes, then the columns, then the texts. Raises UsageError, naming the column."""
        count = len(causes)
        rows = np.zeros(count, payload_dtype(self._type))
        lib.mb_inherit(
            deliveries,
            ffi.from_buffer("uint32_t[]", causes),
            count,
            self._inheritance,
            ffi.from_buffer("uint8_t[]", rows, require_writable=True),
            self._size,
        )
        ends = np.full(count, self._size, np.uint32)
        texts = []
        for name, value in columns.items():
            place = self._places.get(name)
            if place is None:
                raise UsageError(unknown_field("publish_batch", self._type, name))
            if place.format != "II":
                rows[name] = self._numbers(place, value, count)
                continue
            texts.append(self._texts(place, value, count))
            lengths = np.fromiter(map(len, texts[-1]), np.uint32, count)
            rows[name]["offset"], rows[name]["length"] = ends, lengths
            ends += lengths
        return (_interleaved(rows, self._size, texts) if texts else rows), ends

    def count(self, columns: Mapping[str, Any]) -> int:
        """How many events these columns are for, where it does not follow from their causes."""
        lengths = (len(one) for one in columns.values() if not _is_one(one))
        return next(lengths, 1)

    def _numbers(self, place: Place, value: Any, count: int) -> Any:
        if place.format == "16s":
            return self._addresses(place, value, count)
        column = np.asarray(value)
        wanted = np.dtype(place.format)
        self._check_length(place, column.shape, count)
        fits = column.dtype.kind in "bui" or (column.dtype.kind == "f" and wanted.kind == "f")
        if fits and column.size and wanted.kind != "f":
            limits = np.iinfo(wanted)
            fits = int(column.min()) >= limits.min and int(column.max()) <= limits.max
        if not fits:
            raise UsageError(self._wrong(place, value))
        return column

    def _addresses(self, place: Place, value: Any, count: int) -> Any:
        """Texts; or a column of a batch, 16 bytes each."""
        if isinstance(value, np.ndarray) and value.dtype == np.uint8:
            if value.shape != (count, 16):
                raise UsageError(self._wrong(place, value))
            return value
        try:
            octets = b"".join(address_bytes(one) for one in self._each(place, value, count))
        except (OSError, TypeError) as error:
            raise UsageError(self._wrong(place, value)) from error
        return np.frombuffer(octets, np.uint8).reshape(count, 16)

    def _texts(self, place: Place, value: Any, count: int) -> list[bytes]:
        try:
            return [text_bytes(one) for one in self._each(place, value, count)]
        except TypeError as error:
            raise UsageError(self._wrong(place, value)) from error

    def _each(self, place: Place, value: Any, count: int) -> Sequence[Any]:
        if _is_one(value):
            return [value] * count
        values = list(value)
        self._check_length(place, (len(values),), count)
        return values

    def _check_length(self, place: Place, shape: tuple[int, ...], count: int) -> None:
        if shape not in ((), (count,)):
            raise UsageError(
                f"publish_batch('{self._type.name}'): column '{place.field.name}' has "
                f"{' by '.join(map(str, shape))} values for {count} events"
            )

    def _wrong(self, place: Place, value: Any) -> str:
        return (
            f"publish_batch('{self._type.name}'): column '{place.field.name}' is of "
            f"{place.field.type_name}, but {value!r:.60} ({type(value).__name__}) was given"
        )


def _is_one(value: Any) -> bool:
    """True for one value that all events share."""
    return isinstance(value, str | bytes) or np.ndim(value) == 0


def _interleaved(rows: NDArray[Any], size: int, texts: list[list[bytes]]) -> bytes:
    octets = rows.tobytes()
    fixed = (octets[start : start + size] for start in range(0, len(octets), size))
    return b"".join(chain.from_iterable(zip(fixed, *texts, strict=True)))
