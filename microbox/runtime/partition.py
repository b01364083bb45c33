"""Which part of the packets is a worker's own, where several share them out."""

from __future__ import annotations

from dataclasses import dataclass

WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Partition:
    """One of `count` parts."""

    index: int = 0
    count: int = 1

    @property
    def is_whole(self) -> bool:
        """True for the part of a worker that is alone."""
        return self.count == 1

    @property
    def worker(self) -> str:
        """What the worker is called."""
        return WORKER if self.is_whole else f"{WORKER} {self.index + 1}"

    def name_of(self, nf: str) -> str:
        """What the process of an NF that reads the worker's log is called."""
        return nf if self.is_whole else f"{nf} of {self.worker}"

    def settings(self) -> dict[str, int]:
        """As fields of struct mb_stack_config."""
        return {} if self.is_whole else {"worker": self.index, "workers": self.count}


WHOLE = Partition()


def partitions(count: int) -> list[Partition]:
    """All of them."""
    return [Partition(index, count) for index in range(count)]
