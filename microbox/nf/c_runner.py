"""Runs an NF in C: the loop is in C, Python starts it, tells what went wrong, and ends it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microbox._core import ffi, lib
from microbox.channel.messages import Configure, Problem
from microbox.events.catalog import Catalog
from microbox.ffi.layout import Layout, payload_layout, struct_chain
from microbox.nf.c_nf import descriptor_of, named, text_of, texts
from microbox.nf.deliveries import Deliveries
from microbox.nf.derivations import set_of
from microbox.nf.errors import DeclarationError
from microbox.nf.event_class import event_class
from microbox.nf.function import NetworkFunction
from microbox.nf.handlers import Handlers
from microbox.nf.manifest import FLOW_STATE_HANDLER
from microbox.nf.problems import HandlerFailed
from microbox.nf.publication import common_prefix
from microbox.nf.reader import Reader, name_of, poll_error, severity_of
from microbox.nf.records import RecordFile
from microbox.nf.runner import END_OF_INPUT, PROBLEMS_TOLD, address_of, shapes_of
from microbox.nf.verdict import Verdict

PLACE_KINDS = {"d": lib.MB_PLACE_REAL, "16s": lib.MB_PLACE_ADDRESS, "II": lib.MB_PLACE_TEXT}
PLACE_KINDS |= dict.fromkeys("bhiq", lib.MB_PLACE_SIGNED)
PLACE_KINDS |= dict.fromkeys("BHIQ", lib.MB_PLACE_UNSIGNED)
INTEGERS = range(-(1 << 63), 1 << 63)


@dataclass(slots=True)
class CRecords:
    """An NF's log as C wrote it (see records.RecordLog)."""

    path: Path
    close: Callable[[], None]
    go_on_in: Callable[[int], None]
    written: int = 0  # lines in the file
    lost: int = 0  # lines that could not be written

    @property
    def is_made(self) -> bool:
        """True when there is a file with lines."""
        return self.written > 0


class CRunner:
    """Runs one NF in C over one reader, as Runner does one in Python. `tell` gets each Problem."""

    is_async = False

    def __init__(  # noqa: PLR0913 (all that an NF needs to run, put together once)
        self,
        function: NetworkFunction,
        reader: Reader,
        catalog: Catalog,
        configure: Configure,
        *,
        on_error: str = "stop",
        tell: Callable[[Problem], None],
        log: RecordFile | None = None,
    ) -> None:
        """`function` has its parameters and its name; `log` is the file of its records. Raises
        DeclarationError for a parameter that C cannot hold."""
        self.summary: Mapping[str, Any] = {}
        self.is_finished = False
        self._function = function
        self._descriptor = descriptor_of(type(function))
        self._reader = reader
        self._catalog = catalog
        self._configure = configure
        self._stops = on_error == "stop"
        self._tell = tell
        self._deliveries = Deliveries(catalog, None, reader.deliveries)
        self._deliveries.keeps_states = self._descriptor.flow_state_size > 0
        self._deliveries.pool = reader.pool
        self._deliveries.pool_size = reader.pool_size
        self._deliveries.bind(
            address_of(reader.deliveries), address_of(reader.counters), {}, {}, [], None
        )
        self._kept: list[Any] = []  # C memory that the runner points at
        self._runner = self._make(log)
        self.records: CRecords | None = None
        if log is not None:
            self.records = CRecords(log.path, self._close_records, self._go_on_in)

    # --- setting up ---

    def _keep(self, memory: Any) -> Any:
        self._kept.append(memory)
        return memory

    def _text(self, text: str) -> Any:
        return self._keep(ffi.new("char[]", os.fsencode(text)))

    def _make(self, log: RecordFile | None) -> Any:
        reader, catalog = self._reader, self._catalog
        config = ffi.new("struct mb_c_nf_config *")
        config.descriptor = self._descriptor
        config.name = self._text(self._function.name)
        config.state = self._state()
        config.reader = reader.handle
        config.deliveries = reader.deliveries
        config.capacity = len(reader.deliveries)
        config.pool = reader.pool
        config.pool_size = reader.pool_size
        config.shapes = self._keep(shapes_of(catalog))
        config.cancelled = reader.cancelled
        self._add_routes(config)
        own = (k for k, bit in enumerate(self._configure.bits) if bit.follows is None)
        config.own_subscriptions = sum(1 << k for k in own)
        config.end_of_input = catalog.resolve(END_OF_INPUT).number
        self._add_publishable(config)
        config.tuple_kind = self._keep(ffi.new("uint8_t[]", tuple_kinds(catalog)))
        config.log_path = self._text(str(log.path)) if log is not None else ffi.NULL
        config.log_fd = log.descriptor if log is not None else -1
        config.utc = log is not None and log.utc
        config.is_part_of_log = log is not None and log.is_part
        config.stops = self._stops
        runner = lib.mb_c_nf_create(config)
        if runner == ffi.NULL:
            raise MemoryError("no memory to run the NF")
        return ffi.gc(runner, lib.mb_c_nf_destroy)

    def _state(self) -> Any:
        """The NF's state, with the parameters in it."""
        state = self._keep(ffi.new("uint64_t[]", self._descriptor.state_size // 8 + 1))
        octets = ffi.cast("uint8_t *", state)
        for one in named(self._descriptor.parameters):
            value = getattr(self._function, text_of(one.name))
            if one.type == lib.MB_PARAMETER_TEXT:
                ffi.cast("const char **", octets + one.offset)[0] = self._text(value)
            elif one.type == lib.MB_PARAMETER_FLOAT:
                ffi.cast("double *", octets + one.offset)[0] = value
            elif one.type == lib.MB_PARAMETER_BOOL:
                ffi.cast("bool *", octets + one.offset)[0] = value
            elif value in INTEGERS:
                ffi.cast("int64_t *", octets + one.offset)[0] = value
            else:
                raise DeclarationError(
                    f"parameter '{text_of(one.name)}': {value} does not fit into 64 bits"
                )
        return state

    def _add_routes(self, config: Any) -> None:
        """The handlers' deliveries, sorted by type."""
        handlers = Handlers(
            self._function,
            self._configure.bits,
            self._deliveries,
            log_slots=self._reader.log_slots,
            note_end=lambda _event: None,
        )
        places = {text_of(one.name): i for i, one in enumerate(named(self._descriptor.handlers))}
        places[FLOW_STATE_HANDLER] = lib.MB_NF_HANDLERS_MAX
        routes = sorted(handlers.routes, key=lambda route: route.type)
        rows = [
            {"type": route.type, "handler": places[route.call[2]], "bits": route.bits}
            for route in routes
        ]
        config.routes = self._keep(ffi.new("struct mb_c_nf_route[]", rows))
        config.route_count = len(rows)
        config.asked_for = set_of(sorted(handlers.asked_for))

    def _add_publishable(self, config: Any) -> None:
        written = texts(self._descriptor.publishes)
        array = self._keep(ffi.new("struct mb_publishable[]", len(written)))
        for one, name in zip(array, written, strict=True):
            found = self._catalog.resolve(name)
            one.name = self._text(found.name)
            one.written = self._text(name)
            one.type = found.number
            self._lay_out(one, payload_layout(found))
            for cause in self._catalog.types:
                size, is_turned = common_prefix(found, cause)
                one.inherited[cause.number] = size
                one.is_turned[cause.number] = is_turned
        config.publishable = array
        config.publishable_count = len(written)

    def _lay_out(self, publishable: Any, layout: Layout) -> None:
        publishable.size = layout.size
        publishable.places = len(layout.places)
        for place, one in zip(publishable.place, layout.places, strict=False):
            place.name = self._text(one.field.name)
            place.offset = one.offset
            place.size = one.size
            place.kind = PLACE_KINDS[one.format]

    # --- running ---

    def start(self) -> None:
        """Calls the NF's start. Raises HandlerFailed."""
        if not lib.mb_c_nf_start(self._runner):
            raise HandlerFailed(self._told(self._failures()[0], "error"))

    def report_crashes(self) -> None:
        """The process says in which handler it crashed, where it does."""
        lib.mb_c_nf_report_crashes(self._runner)

    def run_once(self, timeout_ns: int) -> None:
        """Handles what there is for about `timeout_ns`. Raises HandlerFailed where the NF is to
        stop."""
        outcome = lib.mb_c_nf_run(self._runner, timeout_ns)
        if outcome == lib.MB_C_NF_FAILED:
            self._tell_failures()
        elif outcome == lib.MB_C_NF_BROKEN:
            nf = ffi.new("uint32_t *")
            status = lib.mb_c_nf_bus_error(self._runner, nf)
            error = poll_error(status, name_of(self._configure.names, nf[0]))
            self._tell(Problem(severity_of(error), str(error)))
        elif outcome == lib.MB_C_NF_ENDED or self._reader.is_at_end:
            self.finish()
            self._reader.advance()

    def _failures(self) -> list[Any]:
        count = lib.mb_c_nf_failures(self._runner)
        return [lib.mb_c_nf_failure(self._runner, which) for which in range(count)]

    def _tell_failures(self) -> None:
        severity = "error" if self._stops else "warning"
        problems = [self._told(failure, severity) for failure in self._failures()]
        if self._stops:
            raise HandlerFailed(problems[0])

    def _told(self, failure: Any, severity: str) -> Problem:
        handler = text_of(failure.handler)
        problem = Problem(severity, text_of(failure.reason), handler, self._event_words(failure))
        self._tell(problem)
        return problem

    def _event_words(self, failure: Any) -> str:
        """The event in hand, as a handler in Python would see it."""
        if failure.index >= len(self._reader.deliveries) or text_of(failure.handler) == "finish":
            return ""
        self._deliveries.show(failure.index)
        found = self._catalog.by_number(self._deliveries.entry.type)
        return repr(event_class(found)(self._deliveries))

    def cancel(self) -> None:
        """Ends a wait for later NFs to read what this one published. Any thread may call it."""
        self._reader.cancelled[0] = True

    def verdicts(self) -> Counter[Verdict]:
        """How many of each were given so far, PASS left out."""
        counted = self._reader.counters.verdicts
        return Counter({one: int(counted[one]) for one in Verdict if counted[one]})

    # --- the end ---

    def finish(self) -> None:
        """Calls the NF's finish and keeps its summary, once. Never raises."""
        if self.is_finished:
            return
        self.is_finished = True
        if not lib.mb_c_nf_finish(self._runner):
            for failure in self._failures():
                self._told(failure, "error")
        length = ffi.new("size_t *")
        summary = lib.mb_c_nf_summary(self._runner, length)
        fields = ffi.buffer(summary, length[0])[:].removeprefix(b", ")
        self.summary = json.loads(b"{" + fields + b"}")
        self._tell_totals()
        if self.records is not None:
            self.records.close()

    def _tell_totals(self) -> None:
        unsound = [
            (name, lib.mb_c_nf_unsound(self._runner, nf))
            for nf, name in enumerate(self._configure.names)
        ]
        unsound.append(("the worker", lib.mb_c_nf_unsound(self._runner, lib.MB_NFS_MAX)))
        for name, count in unsound:
            if count:
                message = (
                    f"{count:,} events of '{name}' were left out: their fields or bytes lie "
                    "outside what they should"
                )
                self._tell(Problem("warning", message))
        for place, one in enumerate(named(self._descriptor.handlers)):
            count = lib.mb_c_nf_raised(self._runner, place)
            if count > PROBLEMS_TOLD:
                name = text_of(one.name)
                self._tell(Problem("warning", f"failed {count:,} times in all", name))
        refused = lib.mb_c_nf_states_refused(self._runner)
        if refused:
            most = self._descriptor.flow_states_max or lib.MB_NF_FLOW_STATES
            message = f"{refused:,} times a flow got no state: {most:,} had one (flow_states_max)"
            self._tell(Problem("warning", message))

    def _go_on_in(self, descriptor: int) -> None:
        lib.mb_c_nf_go_on_in(self._runner, descriptor)

    def _close_records(self) -> None:
        assert self.records is not None
        lib.mb_c_nf_close_records(self._runner)
        written = lib.mb_c_nf_records(self._runner)
        if written.error and not self.records.lost:
            reason = os.strerror(written.error)
            message = f"{self.records.path} cannot be written: {reason}; lines are lost"
            self._tell(Problem("warning", message))
        self.records.written, self.records.lost = int(written.written), int(written.lost)


def tuple_kinds(catalog: Catalog) -> list[int]:
    """How the payloads begin, by number of their type (enum mb_tuple_kind)."""
    kinds = [lib.MB_TUPLE_NONE] * lib.MB_TYPES_MAX
    for one in catalog.types:
        chain = struct_chain(one.struct)
        if "packet" in chain:
            kinds[one.number] = lib.MB_TUPLE_OF_PACKET
        elif "five_tuple" in chain:
            kinds[one.number] = lib.MB_TUPLE_OF_FLOW
    return kinds
