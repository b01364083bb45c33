"""What a run left: its summary, its logs, its output."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from microbox.api.columns import Columns

ALERT_LOG = "alert_log"


class Keeper:
    """Keeps the temporary directory of logs, if there is one, until it is closed, or until neither
    results nor records refer to it any more."""

    def __init__(self, temporary: Path | None) -> None:
        """Owns the directory."""
        self._temporary = temporary
        self.close = weakref.finalize(self, remove, temporary)

    @property
    def has_removed_it(self) -> bool:
        """True where there is nothing to read any more."""
        return self._temporary is not None and not self.close.alive


class Records(Sequence[dict[str, Any]]):
    """The lines of a log, each a dict; read when they are first asked for."""

    def __init__(self, file: Path | None, keeper: Keeper) -> None:
        """`file` of JSON lines; None: there are none."""
        self._file = file
        self._keeper = keeper

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        if self._file is None:
            return []
        if self._keeper.has_removed_it:
            raise ValueError(
                f"{self._file.name} went with the results, which are closed; read it before, or "
                "keep the logs: microbox.run(..., logs=DIRECTORY)"
            )
        with self._file.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> Any:
        return self._records[index]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._records)

    def columns(self) -> Columns:
        """The same as numpy columns: a column for each key, None where a line does not have it."""
        from microbox.api.columns import Columns

        return Columns.of_records(self._records)

    def to_pandas(self) -> pandas.DataFrame:
        """As Columns.to_pandas."""
        return self.columns().to_pandas()

    def to_arrow(self) -> pyarrow.Table:
        """As Columns.to_arrow."""
        return self.columns().to_arrow()

    def __repr__(self) -> str:
        """How many, and the first."""
        first = f", the first {self[0]!r:.200}" if len(self) else ""
        return f"{len(self):,} records{first}"


class Results:
    """The results of a run. Where no directory was named for its logs they lie in a temporary one,
    which is removed by `close`, by the end of a `with`, or when nothing refers to the results and
    their records any more."""

    def __init__(
        self, summary: dict[str, Any], output: Path | None, temporary: Path | None
    ) -> None:
        """`summary` as `microbox run --json` prints it; `temporary`: a directory to remove."""
        self.summary = summary
        """All that `microbox run --json` prints: counts, what adds up, problems, warnings."""
        self.output = output
        """The capture of the packets that passed; None where the chain has no output."""
        self.directory = Path(summary["directory"])
        """Where the logs are."""
        self._keeper = Keeper(temporary)
        self.close = self._keeper.close
        """Removes the temporary directory of the logs, if there is one."""

    @property
    def status(self) -> int:
        """Exit status that `microbox run` would have: 0 where all is well."""
        return int(self.summary["status"])

    @cached_property
    def logs(self) -> Mapping[str, Records]:
        """The NFs' logs by the NF's name."""
        names = [Path(name) for name in self.summary["logs"]]
        return {name.stem: Records(self.directory / name, self._keeper) for name in names}

    @cached_property
    def alerts(self) -> Records:
        """The lines of the alert log."""
        return self.logs.get(ALERT_LOG, Records(None, self._keeper))

    @cached_property
    def nfs(self) -> Mapping[str, Mapping[str, Any]]:
        """What each NF's finish() told, by the NF's name."""
        return {nf["name"]: nf["summary"] for nf in self.summary["nfs"]}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """A line for people."""
        packets = self.summary["input"]["packets"]
        return (
            f"{self.summary['chain']}: {self.summary['ended']}, {packets:,} packets, "
            f"{self.summary['alerts']:,} alerts, logs {', '.join(self.logs) or 'none'}"
        )


def remove(directory: Path | None) -> None:
    """A directory of temporary logs, if there is one."""
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)
