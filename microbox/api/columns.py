"""`Columns`: events as one numpy array a field, all of the same length.

    requests = microbox.read("a.pcap", "http.request")
    requests["host"], requests.time         # arrays
    requests[requests["host"] == "a.org"]   # the rows for which it is so
    requests.to_pandas()

The arrays are the caller's own: nothing refers to the capture.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas
    import pyarrow

ROWS_SHOWN = 10
WIDTH_SHOWN = 24  # characters of a value

Column = NDArray[Any]


class Columns:
    """Events of one type, a row each, in the order in which they happened.

    `len()` is the number of rows; `names` are the columns. A column is had by `columns["name"]`,
    and by `columns.name` where no method has that name. Numbers and slices and masks in brackets
    give rows: a dict, or Columns. `dict(columns)` is a dict of the arrays.
    """

    def __init__(self, columns: Mapping[str, Column], *, type_name: str = "") -> None:
        """`columns` have the same length, and are taken, not copied."""
        self._columns = dict(columns)
        self.type_name = type_name
        """Full name of the event type; "" where the rows are no events."""
        self._length = len(next(iter(self._columns.values()))) if self._columns else 0

    @classmethod
    def of_records(cls, records: Sequence[Mapping[str, Any]]) -> Columns:
        """A column for each key that a record has; None where a record does not have it. Columns of
        one kind of number get its dtype, all others are objects."""
        names = dict.fromkeys(name for one in records for name in one)
        return cls({name: _column([one.get(name) for one in records]) for name in names})

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(self._columns)

    def keys(self) -> tuple[str, ...]:
        """The same, for dict()."""
        return self.names

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows, as dicts of Python's own values."""
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, key: str) -> Column: ...
    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, key: slice | Column | Sequence[int]) -> Columns: ...

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._named(key, KeyError)
        if isinstance(key, int | np.integer):
            return {name: _plain(column[key]) for name, column in self._columns.items()}
        chosen = key if isinstance(key, slice) else np.asarray(key)
        rows = {name: column[chosen] for name, column in self._columns.items()}
        return Columns(rows, type_name=self.type_name)

    def __getattr__(self, name: str) -> Column:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._named(name, AttributeError)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.names})

    def _named(self, name: str, error: type[Exception]) -> Column:
        if name in self._columns:
            return self._columns[name]
        near = difflib.get_close_matches(name, self.names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(self.names)}"
        raise error(f"no column '{name}'; {hint}")

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame with the same columns. Needs pandas."""
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise _missing("pandas", "to_pandas", error) from None
        return pandas.DataFrame(self._columns)

    def to_arrow(self) -> pyarrow.Table:
        """A table with the same columns: times as timestamp[ns], texts as string, bytes as binary.
        Needs pyarrow."""
        try:
            import pyarrow
        except ModuleNotFoundError as error:
            raise _missing("pyarrow", "to_arrow", error) from None
        return pyarrow.table({name: pyarrow.array(one) for name, one in self._columns.items()})

    def __repr__(self) -> str:
        """The first rows, for people."""
        what = f" of {self.type_name}" if self.type_name else ""
        head = f"{len(self):,} rows{what}"
        if not len(self):
            return f"{head}: {', '.join(self.names)}"
        return "\n".join([head, *self._table()])

    def _table(self) -> Iterator[str]:
        cells = [
            [name, *(_shown(value) for value in column[:ROWS_SHOWN])]
            for name, column in self._columns.items()
        ]
        widths = [max(map(len, one)) for one in cells]
        for row in zip(*cells, strict=True):
            yield "  ".join(map(str.ljust, row, widths)).rstrip()
        if len(self) > ROWS_SHOWN:
            yield "…"


def joined(parts: Sequence[Columns]) -> Columns:
    """The rows of all parts, which are at least one and have the same columns, one after the
    other."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].names
    columns = {name: np.concatenate([one[name] for one in parts]) for name in names}
    return Columns(columns, type_name=parts[0].type_name)


def objects(values: Sequence[Any]) -> Column:
    """An array of objects, one for each value, whatever they are."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _column(values: Sequence[Any]) -> Column:
    kinds = {type(value) for value in values}
    return np.array(values) if kinds in ({int}, {float}, {bool}) else objects(values)


def _plain(value: Any) -> Any:
    """A value of Python's own; times stay numpy's, since Python's have no nanoseconds."""
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        return value.item()
    return value


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= WIDTH_SHOWN or text[:2] == "20" else text[: WIDTH_SHOWN - 1] + "…"


def _missing(package: str, method: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """What to do about a package that only this method needs."""
    if error.name != package:
        return error
    return ModuleNotFoundError(
        f"{method}() needs {package}, which is not installed: pip install {package}; "
        "dict(columns) gives numpy arrays without it",
        name=package,
    )
