"""What runs an NF: in Python, on an event loop or not, or in C; they are used alike."""

from __future__ import annotations

from collections.abc import Callable

from microbox.channel.messages import Configure, Problem
from microbox.events.catalog import Catalog
from microbox.nf.c_nf import descriptor_of
from microbox.nf.c_runner import CRunner
from microbox.nf.function import NetworkFunction
from microbox.nf.manifest import is_async
from microbox.nf.problems import Hint, no_hint
from microbox.nf.reader import Reader
from microbox.nf.records import RecordFile, RecordLog
from microbox.nf.runner import Runner
from microbox.nf.sampling_runner import Sampled, SamplingRunner

AnyRunner = Runner | CRunner


def runner_of(  # noqa: PLR0913 (all that an NF needs to run, put together once)
    function: NetworkFunction,
    reader: Reader,
    catalog: Catalog,
    configure: Configure,
    *,
    on_error: str,
    tell: Callable[[Problem], None],
    log: RecordFile | None,
    hint: Hint = no_hint,
) -> AnyRunner:
    """The runner of an NF that has its parameters and its name. `log`: the file of its records.
    `hint`: what an error in Python calls for."""
    if descriptor_of(type(function)) is not None:
        return CRunner(function, reader, catalog, configure, on_error=on_error, tell=tell, log=log)

    def warn(message: str) -> None:
        tell(Problem("warning", message))

    records = RecordLog(log, name=function.name, tell=warn) if log is not None else None
    return _class_for(type(function))(
        function,
        reader,
        catalog,
        configure,
        on_error=on_error,
        tell=tell,
        records=records,
        hint=hint,
    )


def _class_for(owner: type[NetworkFunction]) -> type[Runner]:
    """What runs NFs of this class."""
    if issubclass(owner, Sampled):
        return SamplingRunner
    if not is_async(owner):
        return Runner
    from microbox.nf.async_runner import AsyncRunner  # asyncio's import takes a while

    return AsyncRunner
