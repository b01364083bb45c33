"""What the command line says in place of the chain file, for verbs that read one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from microbox.chain.model import WORKERS_MAX, Input, Overrides


@Parameter(name="*")
@dataclass(frozen=True)
class Overriding:
    """Options that go before what the chain file says."""

    read: Annotated[
        list[Path],
        Parameter(  # "-" is one
            name=["--read", "-r"], allow_leading_hyphen=True, negative=(), show_default=False
        ),
    ] = field(default_factory=list)
    """Read this capture, or those of this directory. May be repeated: one behind the other. - is
    standard input: `run` reads it while it comes."""

    workers: Annotated[
        int | None, Parameter(validator=validators.Number(gte=1, lte=WORKERS_MAX))
    ] = None
    """Share the packets out among so many workers."""

    settings: Annotated[list[str], Parameter(name="--set", negative=(), show_default=False)] = (
        field(default_factory=list)
    )
    """A setting, as KEY=VALUE: stack.tcp_timeout=5m, or of an NF chain.port_scan.threshold=50. May
    be repeated."""

    def overrides(self, *, log_directory: Path | None = None, utc: bool | None = None) -> Overrides:
        """As the loader takes them, with what only one verb has."""
        return Overrides(
            input=Input(tuple(self.read)) if self.read else None,
            log_directory=log_directory,
            utc=utc,
            workers=self.workers,
            settings=tuple(self.settings),
        )


AS_WRITTEN = Overriding()
