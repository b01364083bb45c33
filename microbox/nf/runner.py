"""The loop of an NF: poll the bus, call the handlers, judge, move on.

One C call brings a batch of deliveries; each costs then a look-up of its key (type and the bits it
matches) and the call of the handler. Events are views of what the deliveries point at, one object
for each handler and type. What can go wrong is looked at outside the inner loop.

Rules of verdicts: nothing returned means PASS. DROP on a stream event (bytes or a gap of a TCP
side) is DROP_FLOW, since a retransmission would bring the bytes back. After DROP_FLOW, RESET or
PASS_FLOW the NF gets nothing more of the flow, from the next event on.
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from microbox._core import ffi, lib
from microbox.channel.messages import Configure, Problem
from microbox.events.catalog import Catalog
from microbox.ffi.layout import payload_layout
from microbox.nf.deliveries import Deliveries
from microbox.nf.edits import Edits
from microbox.nf.errors import KeptError, UsageError
from microbox.nf.event import Event, expire
from microbox.nf.function import NetworkFunction
from microbox.nf.handlers import BatchCall, Call, CallTable, Handlers
from microbox.nf.manifest import (
    FLOW_STATE_HANDLER,
    flow_ends,
    is_inline,
    needs_flow_ends,
)
from microbox.nf.problems import HandlerFailed, Hint, kept_message, no_hint, problem_of
from microbox.nf.publisher import Publisher
from microbox.nf.reader import BusError, Reader, severity_of
from microbox.nf.records import RecordLog
from microbox.nf.rewrites import Rewrites
from microbox.nf.switches import Switches
from microbox.nf.verdict import DROPS, LEAVES, Verdict

if TYPE_CHECKING:
    from microbox.nf.batch import Batch

PROBLEMS_TOLD = 5  # of one handler, with a traceback; all are counted
DEBUGGER = "bdb"  # the module that Python's debuggers build on
END_OF_INPUT = "system.end_of_input"
NO_EVENT: Any = None


class Runner:
    """Runs one NF over one reader. `tell` gets each Problem."""

    is_async = False
    """Whether it runs on an event loop."""

    in_terminal = False
    """Whether a person may look at it with a debugger, which holds on to what it has shown."""

    def __init__(  # noqa: PLR0913 (all that an NF needs to run, put together once)
        self,
        function: NetworkFunction,
        reader: Reader,
        catalog: Catalog,
        configure: Configure,
        *,
        on_error: str = "stop",
        tell: Callable[[Problem], None],
        records: RecordLog | None = None,
        hint: Hint = no_hint,
    ) -> None:
        """`function` has its parameters and its name. `hint` says what an error calls for."""
        self.summary: Mapping[str, Any] = {}
        self.is_finished = False
        self._function = function
        self._owner = type(function)
        self._reader = reader
        self._catalog = catalog
        self._configure = configure
        self._stops = on_error == "stop"
        self._tell = tell
        self._hint = hint
        self.records = records
        self._is_inline = is_inline(self._owner)
        self._end_type = catalog.resolve(END_OF_INPUT).number
        self._ends = frozenset(catalog.resolve(name).number for name in flow_ends(catalog))
        self._raised: Counter[str] = Counter()
        self._left: dict[int, list[int]] = {}  # in this poll, by flow: the subscriptions that are
        # still wanted of each side, after DROP_FLOW, PASS_FLOW and what was unsubscribed from
        self._ended_flows: list[int] = []  # in this poll
        self._past_flows: list[int] = []  # in the poll before
        self._end_seen = False
        deliveries = Deliveries(catalog, self._owner.flow_state, reader.deliveries)
        deliveries.keeps_states = needs_flow_ends(self._owner)
        deliveries.pool = reader.pool
        deliveries.pool_size = reader.pool_size
        self._deliveries = deliveries
        self._switches = Switches(
            self._owner, configure.bits, catalog, self._command, left=self._left
        )
        deliveries.switches = self
        deliveries.rewrites = Rewrites(
            self._owner, is_declared=configure.shape.rewrites, send=self._rewrite
        )
        deliveries.edits = Edits(self._owner, configure.shape, self)
        deliveries.frame_of = reader.frame_of
        self._shapes = shapes_of(catalog)
        self._unsound = ffi.new("uint64_t[]", lib.MB_NFS_MAX)
        self._handlers = Handlers(
            function,
            configure.bits,
            deliveries,
            log_slots=reader.log_slots,
            note_end=self._note_end,
        )
        self._calls = CallTable(self._call_of)
        deliveries.bind(
            address_of(reader.deliveries),
            address_of(reader.counters),
            self._calls,
            self._left,
            [],
            Verdict.PASS,
        )
        self._publisher = Publisher(
            function,
            reader,
            deliveries,
            takes_batches=bool(self._handlers.batches),
            records=records,
        )

    # --- the loop ---

    def run_once(self, timeout_ns: int) -> int:
        """Handles what there is, waiting up to `timeout_ns` for it. Returns how many deliveries.

        Raises HandlerFailed where the NF is to stop.
        """
        try:
            count = self._reader.poll(timeout_ns)
        except BusError as error:
            self._tell(Problem(severity_of(error), str(error)))
            return 0
        if count:
            self._handle(count)
        elif self._reader.is_at_end:
            self.finish()
        elif self.records is not None:
            self.records.flush()
        self._reader.advance()
        return count

    def _handle(self, count: int) -> None:
        end = self._begin_poll(count)
        if self._handlers.routes:
            start = 0
            while start < count:
                start = self._call_handlers(start, count)
            self._check_kept()
        for one in self._handlers.batches:
            self._call_batch(one, count)
        if self._end_poll(count, end):
            self.finish()

    def _begin_poll(self, count: int) -> int:
        """Leaves out what cannot be handled. Returns the index of the end of the input, or
        `count`."""
        deliveries = self._deliveries
        deliveries.sees_edits = self._reader.sees_edits
        lib.mb_take_back_unsound(
            deliveries.array, count, self._shapes, deliveries.pool_size, self._unsound
        )
        if self._handlers.batches:
            self._reader.hold_batch(int(deliveries.array[count - 1].position))
        return int(lib.mb_find_type(deliveries.array, count, self._end_type))

    def _end_poll(self, count: int, end: int) -> bool:
        """All of the poll is handled; `end` as _begin_poll said. True when it was the last."""
        self._forget_flows()
        if end < count and not self._end_seen:
            self._note_end_of_input()
        is_over = self._end_seen and not self._reader.is_inside_packet
        if is_over:
            self._deliveries.show(count - 1)
        return is_over

    def _forget_flows(self) -> None:
        """Drops the states of flows that ended in the poll before this one: what other NFs
        published about the last packet of a flow may come one poll later."""
        for flow in self._past_flows:
            self._deliveries.states.pop(flow, None)
        own = self._switches.own
        left = (flow for flow, wanted in self._left.items() if not (wanted[0] | wanted[1]) & own)
        self._past_flows = [*self._ended_flows, *left]
        self._ended_flows.clear()
        self._left.clear()

    def _call_handlers(self, start: int, end: int) -> int:
        """Calls the handlers of the deliveries [start, end). Returns the index to go on from:
        `end`, or past an event that went wrong. Raises HandlerFailed."""
        deliveries = self._deliveries
        try:
            index = deliveries.run(start, end)
            while index < end:
                self._attend()
                index = deliveries.run(index + 1, end)
        except HandlerFailed:
            raise
        except Exception as error:
            _, event, name = deliveries.call
            self._failed(name, error, repr(event))
            return deliveries.index + 1
        return end

    def _attend(self) -> None:
        """To a delivery whose handler said more than to pass, or has views of shared memory, or was
        not called since its flow was left in this poll."""
        deliveries = self._deliveries
        if deliveries.was_called:
            self._conclude(deliveries.verdict, deliveries.call[2])
            return
        function, event, name = self._still_wanted()
        verdict = function(event)
        self._reader.counters.handled += event is not NO_EVENT
        self._conclude(verdict, name)

    def _conclude(self, verdict: Any, name: str) -> None:
        """What is left to do when a handler has returned, and was counted."""
        try:
            if verdict is not None:
                self._judge(verdict, name)
            if not self._deliveries.take_views_back():
                raise KeptError(kept_message(name, "event.data or event.frame"))
        except UsageError:
            self._reader.counters.handled -= 1
            raise

    def _still_wanted(self) -> Call:
        """The call without the subscriptions that the flow was left on in this poll."""
        delivery = self._deliveries.array[self._deliveries.index]
        entry = delivery.entry
        sides = self._left[entry.flow]
        wanted = sides[entry.flags & lib.MB_FROM_RESPONDER]
        if entry.type in self._ends:  # who wants either side gets the end
            wanted |= sides[1]
        return self._calls[(delivery.bits & wanted) << 16 | entry.type]

    def _call_of(self, key: int) -> Call:
        """The call for deliveries with this key."""
        calls = self._handlers.calls_of(key)
        if len(calls) == 1 and calls[0][2] != FLOW_STATE_HANDLER:
            return calls[0]
        return (partial(self._call_each, calls), NO_EVENT, "")

    def _call_each(self, calls: list[Call], _: Event) -> None:
        """All handlers of an event that has not just one; what one raises does not keep the others
        from it. Raises HandlerFailed."""
        for function, event, name in calls:
            try:
                verdict = function(event)
                self._count_handled(name)
                self._conclude(verdict, name)
            except Exception as error:
                self._failed(name, error, repr(event))

    def _count_handled(self, name: str) -> None:
        """Without the runtime's own calls."""
        self._reader.counters.handled += name != FLOW_STATE_HANDLER

    def _call_batch(self, call: BatchCall, count: int) -> None:
        batch = call.selector.select(count)
        if batch is None:
            return
        try:
            self._conclude_batch(call, batch, call.function(batch))
        except Exception as error:
            self._batch_failed(call, batch, error)

    def _conclude_batch(self, call: BatchCall, batch: Batch, verdicts: Any) -> None:
        """What is left to do when a handler of batches has returned."""
        _, selector, name = call
        count = len(batch)
        if verdicts is not None:
            self._judge_batch(verdicts, batch, name)
        returned = self._deliveries.take_views_back()
        batch.close()
        # What else refers to the batch: this frame's and the caller's variables, the argument.
        batch_was_kept = sys.getrefcount(batch) > 3  # noqa: PLR2004
        if selector.was_kept() or batch_was_kept or not returned:
            raise KeptError(kept_message(name, "its batch or a column of it"))
        self._reader.counters.handled += count

    def _batch_failed(self, call: BatchCall, batch: Batch, error: Exception) -> None:
        self._failed(call.name, error, f"a batch of {len(batch)} {batch.type.name}")

    def cancel(self) -> None:
        """Ends a wait for later NFs to read what this one published. Any thread may call it."""
        self._reader.cancelled[0] = True

    # --- verdicts ---

    def verdicts(self) -> Counter[Verdict]:
        """How many of each were given so far, PASS left out."""
        counted = self._reader.counters.verdicts
        return Counter({one: int(counted[one]) for one in Verdict if counted[one]})

    def _judge(self, verdict: Any, name: str) -> None:
        """What a handler returned about the event that is being handled."""
        if type(verdict) is not Verdict:
            raise UsageError(
                f"{name} returned {verdict!r:.60} ({type(verdict).__name__}): expected PASS, DROP, "
                "DROP_FLOW, PASS_FLOW, RESET, or nothing"
            )
        entry = self._deliveries.entry
        if verdict in DROPS and not self._is_inline:
            raise UsageError(
                f"{name} returned {verdict.name}, but {self._owner.__name__} is not inline: write "
                "inline = True in the class"
            )
        if verdict is Verdict.PASS:
            return
        taken = self._reader.judge(self._deliveries.array + self._deliveries.index, verdict)
        if taken in LEAVES and entry.flow:
            self._left[entry.flow] = [0, 0]

    def _judge_batch(self, verdicts: Any, batch: Batch, name: str) -> None:
        """One verdict for all events, or an array with one each."""
        if isinstance(verdicts, Verdict):
            verdicts = [verdicts] * len(batch)
        if not hasattr(verdicts, "__len__") or len(verdicts) != len(batch):
            raise UsageError(
                f"{name} returned {type(verdicts).__name__}: expected a verdict, {len(batch)} "
                "verdicts (one for each event of the batch), or nothing"
            )
        for index, number in enumerate(verdicts):
            if number:
                batch[index]
                self._judge(Verdict(number), name)

    # --- commands ---

    def unsubscribe(self, types: tuple[str, ...], side: str | None) -> None:
        """See Flow.unsubscribe."""
        self._switches.unsubscribe(self._deliveries.entry.flow, types, side)

    def subscribe(self, types: tuple[str, ...], side: str | None) -> None:
        """See Flow.subscribe."""
        self._switches.subscribe(self._deliveries.entry.flow, types, side)

    def _command(self, kind: int, subscriptions: int, sides: int) -> None:
        cause = self._deliveries.array + self._deliveries.index
        self._reader.command(cause, kind, subscriptions, sides)

    # --- edits ---

    def edit(self, record: Any) -> None:
        """The packet of the event that is being handled, as the struct mb_edit * says."""
        self._reader.edit(self._deliveries.array + self._deliveries.index, record)

    def replace(self, at: int, data: bytes) -> None:
        """Bytes of the event that is being handled, those from `at` on."""
        self._reader.replace(self._deliveries.array + self._deliveries.index, at, data)

    def _rewrite(self, record: Any) -> None:
        self._reader.rewrite(self._deliveries.array + self._deliveries.index, record)

    # --- the end, and what goes wrong ---

    def finish(self) -> None:
        """Calls the NF's finish() and keeps what it returns, once. Never raises."""
        if self.is_finished:
            return
        self.is_finished = True
        try:
            self._take_summary(self._function.finish())
        except Exception as error:
            self._finish_failed(error)
        self._close()

    def _take_summary(self, summary: Any) -> None:
        """What finish() returned."""
        if summary is not None and not isinstance(summary, Mapping):
            raise UsageError(
                f"finish returned {summary!r:.60} ({type(summary).__name__}): expected a dict "
                "of what the summary should show, or nothing"
            )
        self.summary = summary or {}

    def _finish_failed(self, error: Exception) -> None:
        self._reader.counters.raised += 1
        self._tell(problem_of("finish", error, "", "error", self._hint))

    def _close(self) -> None:
        self._tell_totals()
        self._function._runtime = None
        if self.records is not None:
            self.records.close()

    def _tell_totals(self) -> None:
        for name, unsound in zip(self._configure.names, self._unsound, strict=False):
            if unsound:
                message = (
                    f"{unsound:,} events of '{name}' were left out: their fields or bytes lie "
                    "outside what they should"
                )
                self._tell(Problem("warning", message))
        for name, count in self._raised.items():
            if count > PROBLEMS_TOLD:
                self._tell(Problem("warning", f"raised {count:,} times in all", name))

    def _failed(self, name: str, error: Exception, event: str) -> None:
        """Reports what a handler raised. Raises HandlerFailed where the NF is to stop."""
        self._deliveries.take_views_back()
        self._report(name, error, event)

    def _report(self, name: str, error: Exception, event: str) -> None:
        self._raised[name] += 1
        self._reader.counters.raised += 1
        severity = "error" if self._stops else "warning"
        problem = problem_of(name, error, event, severity, self._hint)
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        if self._stops or self._raised[name] <= PROBLEMS_TOLD:
            self._tell(problem)
        if self._stops:
            raise HandlerFailed(problem) from None

    def _check_kept(self) -> None:
        """Events may not live on past their handlers: each is one object, shown again."""
        for place in self._kept_events():
            self._replace_kept(place)

    def _kept_events(self) -> list[int]:
        """The routes whose events somebody else holds."""
        kept = []
        for place, route in enumerate(self._handlers.routes):
            _, event, _ = route.call
            # What else refers to the event: the call, this variable, the argument.
            if sys.getrefcount(event) > 3 or event.parts_were_kept():  # noqa: PLR2004
                kept.append(place)
        return kept

    def _replace_kept(self, place: int) -> None:
        _, kept, name = self._handlers.renew(place)
        self._calls.clear()
        words = repr(kept)
        expire(kept, name)
        if self.in_terminal and DEBUGGER in sys.modules:
            return
        self._failed(name, KeptError(kept_message(name, "its event")), words)

    def _note_end_of_input(self) -> None:
        """The runtime reads it for every NF; one that did not ask for it has not seen it."""
        self._end_seen = True
        if self._end_type not in self._handlers.asked_for:
            self._reader.counters.matched -= 1

    def _note_end(self, event: Event) -> None:
        """The runtime's own handler, so that the states of ended flows go."""
        self._ended_flows.append(event.flow.id)
        if event.type.number not in self._handlers.asked_for:
            self._reader.counters.matched -= 1

    # --- what the NF calls ---

    def start(self) -> None:
        """Calls the NF's start(); from then on it may publish, alert and record."""
        self._function.start()
        self._function._runtime = self._publisher


def address_of(pointer: Any) -> int:
    """Of what a pointer of cffi's points at."""
    return int(ffi.cast("uintptr_t", pointer))


def shapes_of(catalog: Catalog) -> Any:
    """What payloads have to be, by number of their type."""
    shapes = ffi.new("struct mb_payload_shape[]", lib.MB_TYPES_MAX)
    for one in catalog.types:
        layout = payload_layout(one)
        texts = [place.offset for place in layout.places if place.format == "II"]
        shapes[one.number] = {"size": layout.size, "texts": len(texts), "text": texts}
    return shapes
