"""`NetworkFunction`: the class that a user derives from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from microbox.nf.errors import UsageError

if TYPE_CHECKING:
    import asyncio

    from microbox.nf.batch import Batch
    from microbox.nf.event import Event


class Runtime(Protocol):
    """What runs an NF, as the NF sees it."""

    @property
    def time(self) -> int:
        """As NetworkFunction.time."""

    def publish(self, type_name: str, cause: Event | None, fields: Mapping[str, Any]) -> None:
        """As NetworkFunction.publish."""

    def publish_batch(
        self, type_name: str, causes: Batch | Event, rows: Any, columns: Mapping[str, Any]
    ) -> None:
        """As NetworkFunction.publish_batch."""

    def alert(self, event: Event | None, message: str, *, signature: str, severity: int) -> None:
        """As NetworkFunction.alert."""

    def record(self, event: Event | None, fields: Mapping[str, Any]) -> None:
        """As NetworkFunction.record."""


class TaskGroup(Protocol):
    """The tasks of an NF that runs on an event loop."""

    def create(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """As NetworkFunction.create_task."""


class NetworkFunction:
    """One network function. Derive a class, annotate its parameters, mark its handlers::

        class BlockTelnet(NetworkFunction):
            '''Drop new connections to port 23.'''

            @on("tcp.start", filter="tcp dst port 23")
            def refuse(self, event):
                self.alert(event, "telnet refused")
                return DROP

    The class is checked when it is made. Its instance lives in a process of its own; all handlers
    run in one thread, one at a time, in the order of the log.
    """

    __microbox_base__ = True

    publishes: ClassVar[Sequence[str]] = ()
    """Names of the event types that it publishes. `alert` needs no mention."""

    declares: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Event types of its own, parents first: full name → field → u8 u16 u32 u64 i64 f64 text."""

    records: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """What the lines of its log say, for their JSON Schema: event_type ("" for none) → field → u8
    u16 u32 u64 i64 f64 text texts bool, ? where not every line has it, a colon and a sentence."""

    inline: ClassVar[bool | None] = None
    """Whether packets wait for it, so that it may drop them. None: if its code mentions DROP or
    DROP_FLOW, or it edits."""

    commands: ClassVar[bool | None] = None
    """Whether it unsubscribes from flows. None: if its code says `unsubscribe` or `subscribe`, or a
    handler can be switched."""

    edits: ClassVar[str | None] = None
    """What it changes of packets: "headers", VLAN tags included; "payload", headers included; or ""
    for nothing. An NF that edits is inline. None: "headers" if its code says `rewrite`, `edit`,
    `push_vlan` or `pop_vlan`, "payload" if it says `edit(payload=...)`."""

    per_flow: ClassVar[bool] = True
    """False where it keeps what it knows of all flows together: then it has one instance."""

    files: ClassVar[Sequence[str]] = ()
    """Files that it reads beside those that parameters name: paths or patterns, counted from the
    folder of its own file; a directory means all in it. Plain texts: read before its code runs."""

    writes: ClassVar[Sequence[str]] = ()
    """Files that it writes, likewise. They are made where they are missing; "./out/" is a
    directory."""

    network: ClassVar[bool] = False
    """Whether it makes sockets of IPv4 and IPv6."""

    flow_state: ClassVar[Callable[[], Any] | None] = None
    """Makes the object that `event.flow.state` is at its first use in a flow: a class, say."""

    name: str = ""
    """The instance's name in its chain."""

    _runtime: Runtime | None = None
    _tasks: TaskGroup | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Checks handlers, types, parameters: what is wrong is said before anything runs."""
        super().__init_subclass__(**options)
        # Here, since that module derives what it checks from this one.
        from microbox.nf.manifest import check_class

        check_class(cls)

    def start(self) -> Awaitable[None] | None:
        """Called once before the first event; parameters are set. May be `async def`."""
        return None

    def finish(self) -> Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None:
        """Called once after the last event. What it returns is shown in the summary. May be
        `async def`."""
        return None

    @property
    def time(self) -> int:
        """Packet time of the event that is being handled, nanoseconds since the epoch."""
        return self._running().time

    def alert(
        self, event: Event | None, message: str, *, signature: str = "", severity: int = 2
    ) -> None:
        """Reports to people. `severity`: 1 information, 2 notice, 3 warning, 4 critical.

        `signature` is a short stable name of what was found. `event` is what it was seen in;
        None in `finish`.
        """
        self._running().alert(event, message, signature=signature, severity=severity)

    def publish(self, type_name: str, cause: Event | None = None, **fields: Any) -> None:
        """Publishes an event, caused by `cause`, the event that is being handled.

        Time, flow, data and snapshot are the cause's. Fields that are not given are taken from the
        cause where it has them, else they are 0 or empty.
        """
        self._running().publish(type_name, cause, fields)

    def publish_batch(
        self, type_name: str, causes: Batch | Event, rows: Any = None, /, **columns: Any
    ) -> None:
        """Publishes many events of one type with one call.

        `causes`: the batch that is being handled, one event for each of its rows or of `rows` of
        them (numbers, which may repeat; or a truth for each row). Or the event that is being
        handled, which then is the cause of as many as the columns are long. A column is an array
        or list with a value for each, or one value for all. All else is as with `publish`.
        """
        self._running().publish_batch(type_name, causes, rows, columns)

    def record(self, event: Event | None, **fields: Any) -> None:
        """Writes one line to this NF's log: time and flow of `event`, then the fields, in order."""
        self._running().record(event, fields)

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begins a task that runs while handlers await and while no events come.

        For NFs with `async def` among their handlers, start or finish. Held until it is done; what
        it raises is reported like a handler's error. Cancelled after finish().
        """
        if self._tasks is None:
            raise UsageError(
                f"{type(self).__name__} does not run on an event loop: write async def for one of "
                "its handlers, for start or for finish; and create tasks from start() on"
            )
        return self._tasks.create(coroutine)

    def _running(self) -> Runtime:
        if self._runtime is None:
            raise UsageError(
                f"{type(self).__name__} does not run yet: alert, publish, record and time work "
                "in handlers and in finish()"
            )
        return self._runtime
