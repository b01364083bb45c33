"""How large packets are: an example of a handler that gets many events at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from microbox import Batch, NetworkFunction, ParameterError, on_batch, parameter


class PacketSizes(NetworkFunction):
    """Count packets by their length on the wire."""

    bounds: list[int] = parameter(
        [64, 128, 256, 512, 1024, 1518], "upper bounds of the classes, in bytes, ascending"
    )

    def start(self) -> None:
        """Begin with empty classes; the last one has no bound."""
        if self.bounds != sorted(set(self.bounds)):
            raise ParameterError("bounds", f"expected ascending numbers, not {self.bounds}")
        self.counts = np.zeros(len(self.bounds) + 1, np.int64)
        self.bytes = 0

    @on_batch("packet")
    def count(self, batch: Batch) -> None:
        """Count a batch: one pass over a column, no Python a packet. What was put together from
        fragments came as those."""
        lengths = batch.wire_length[batch.fragments == 0]
        classes = np.searchsorted(self.bounds, lengths)
        self.counts += np.bincount(classes, minlength=len(self.counts))
        self.bytes += int(lengths.sum())

    def finish(self) -> dict[str, Any]:
        """Say how many packets there were of each class."""
        names = [f"to {bound}" for bound in self.bounds] + ["larger"]
        sizes = dict(zip(names, self.counts.tolist(), strict=True))
        return {"packets": int(self.counts.sum()), "bytes": self.bytes, "sizes": sizes}
