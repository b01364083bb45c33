"""The messages between the controller and its children, as dataclasses.

A child trusts the controller and builds these with `from_wire`. The controller trusts nobody: it
validates what children say (`microbox.runtime.processes.validation`). Order of a run::

    controller → NF      Load         which NF, its parameters; + its log file, where it has one
    NF → controller      Confined     what is in force before its code is loaded
    NF → controller      Manifest     what it subscribes to, publishes, may do   (or Failed)
    controller → NF      Configure    its index, bits, timers, shape of its area
    NF → controller      Area         + its sealed area                          (or Failed)
    controller → worker  StartWorker  + capture, + output
    worker → controller  WorkerAreas  + log, counters                            (or Failed)
    controller → worker  Attach       + the NF's area, one message each
    controller → worker  Subscribe    all subscriptions and timers
    controller → NF      Map          + log, + frame pool
    controller → NF      Neighbour    + its area, one message each
    controller → NF      Begin        the NF calls start() and answers
    NF → controller      Ready                                                   (or Failed)
    controller → worker  Begin        packets flow
    NF → controller      Problem      a handler raised, a log could not be written; any number
    NF → controller      Finished     after finish(), then it exits
    controller → worker  Detach       an NF is gone
    controller → any     Stop         end early, in order: the input is over now
    controller → NF      WorkerGone   the log ends where it is: read it, then finish
    worker → controller  Accused      an NF breaks the protocol: it is to be killed
    worker → controller  Done         then it exits

NFs come and go while packets flow. One that comes has been made ready as above, up to Ready, though
without neighbours; then::

    controller → worker  Pause        let all NFs come to the head of the log
    worker → controller  Paused       nothing is in flight
    controller → NF      Neighbour    to all that are to know each other, old and new
    NF → controller      Met
    controller → worker  Attach, Detach, Promote, Subscribe
    controller → worker  Prepare      where an NF comes: could it all be done?
    worker → controller  Prepared
    controller → worker  Abort        where another worker could not; Subscribe, as before
    controller → worker  Resume
    worker → controller  Resumed      packets flow again, with or without the change
    controller → NF      Begin        to the one that came: it reads from now on

One that comes from a user's terminal (`microbox attach`) asks for it first, and may ask to leave;
where there are several workers, it has a process for each of them, as any NF has::

    NF → controller      Join         which NF it is, and where it wants to be
    controller → NF      Load         and so on, as above; or Refused, at any point before Begin
    NF → controller      Leave        answered by Stop, or Refused
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ParameterDeclaration:
    """A parameter that an NF's class declares."""

    name: str
    annotation: str  # as written: "int", "list[str]"
    default: Any = None
    required: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class HandlerDeclaration:
    """One handler's subscription, as the user wrote it."""

    handler: str
    types: list[str]  # names as written: ["http.request"]
    filter: str = ""
    batch: bool = False
    line: int = 0
    switch: bool = False  # can be switched on and off for a flow
    initially: bool = True  # whether it is on in a new flow


@dataclass(frozen=True, slots=True)
class TimerDeclaration:
    """One @every handler."""

    handler: str
    period: int  # nanoseconds
    line: int = 0


@dataclass(frozen=True, slots=True)
class TypeDeclaration:
    """An event type of the user's own: `fields` extend the parent's payload. With `when` it is
    derived: the stack publishes it for those of its parent's events that fit."""

    name: str  # full dotted name
    fields: dict[str, str] = field(default_factory=dict)  # name → u8 u16 u32 u64 i64 f64 text
    doc: str = ""
    producer: str = "user"  # an NF; "module_NAME": a user's module; "condition": it is derived
    when: str = ""
    counters: dict[str, str] = field(default_factory=dict)  # of a flow: name → what is counted
    at_most: int = 0  # times on a flow; 0: any number
    line: int = 0  # in the NF's file

    @property
    def condition(self) -> str:
        """When it is published, for people, on one line; "" where it is not derived."""
        said = " ".join(self.when.split())
        if self.counters:
            pairs = (f"{name}: {' '.join(one.split())}" for name, one in self.counters.items())
            said += f"; counting {', '.join(pairs)}"
        return said + (f"; at most {self.at_most} a flow" if self.at_most else "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an NF is, as its class says."""

    kind = "manifest"
    class_name: str
    file: str
    doc: str
    parameters: list[ParameterDeclaration]
    handlers: list[HandlerDeclaration]
    timers: list[TimerDeclaration]
    publishes: list[str]  # names of types that it publishes, `alert` included
    declares: list[TypeDeclaration]
    is_inline: bool  # may drop
    commands: bool = False  # unsubscribes from flows and subscribes to them
    is_async: bool = False  # runs on an event loop
    edits: str = ""  # what it may change of packets: "" nothing, "headers", "payload"
    edits_packets: bool = False  # single ones
    rewrites_flows: bool = False
    per_flow: bool = True  # False: what it knows is of all flows together, so it has one instance
    files: list[str] = field(default_factory=list)  # patterns, as its class has them
    writes: list[str] = field(default_factory=list)
    network: bool = False
    records: dict[str, dict[str, str]] = field(default_factory=dict)  # nf/record_schema.py


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What the chain says of an NF's confinement. None: as its class says. Paths are absolute."""

    is_on: bool = True
    files: list[str] | None = None
    writes: list[str] | None = None
    network: bool | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Import this NF's file and say what it is.

    The NF's instance is made after Configure: until then the parameters are only kept, since the
    controller checks them against the manifest and knows the lines that they stand in.
    """

    kind = "load"  # + with has_record_file: the file for its records, to be emptied at the first
    name: str  # in the chain; instances that share out its flows have the same
    source: str  # path of the Python file
    parameters: dict[str, Any]
    on_error: str = "stop"  # "stop" | "skip"
    log_directory: str = ""  # "": describe only, nothing is written
    log_name: str = ""  # of its log file there
    writes_part: bool = False  # of its log: others write to the same, so each line has its place
    log_format: str = "json"  # nf/record_forms.py
    utc: bool = False
    base: str = ""  # directory that relative paths among the parameters count from; "": where the
    # process runs
    sandbox: Sandbox = field(default_factory=Sandbox)
    has_record_file: bool = False
    memory: int = 0  # bytes that its code may take; 0: any


@dataclass(frozen=True, slots=True)
class Confined:
    """What an NF's process gave up, for good. It says so before the user's code is loaded, so no
    such code can have changed it."""

    kind = "confined"
    is_on: bool  # False: the chain wants no confinement
    user: int  # number of the user that it runs as
    landlock: int = 0  # version of the domain's rules; 0: no domain
    seccomp: bool = False
    capabilities: list[str] = field(default_factory=list)  # kept, for files that need them
    missing: list[str] = field(default_factory=list)  # what this machine lacks, a sentence each


@dataclass(frozen=True, slots=True)
class Share:
    """The part of all flows that a subscription is for (struct mb_share)."""

    first: int = 0  # the NF that is the first of the instances
    index: int = 0
    count: int = 1  # 1: all flows
    key: int = 0  # enum mb_share_key


ALL_FLOWS = Share()


@dataclass(frozen=True, slots=True)
class Bit:
    """One of an NF's bits in the mask."""

    bit: int
    filter: str
    types: list[int]  # numbers of the types it delivers, descendants included; [] for a bit that
    # only follows a publisher
    wanted: list[int] = field(
        default_factory=list
    )  # types that the worker sets this bit for: those
    # of `types` that the stack publishes, and those that a followed publisher reads
    switch: str = ""  # full name of the type that it is switched by; "": only with all others
    initially: bool = True  # whether it is set in a new flow
    may_switch: bool = False  # the NF may switch it
    follows: int | None = None  # the bit of the publisher that it follows, and is switched with;
    # -1: it follows several, and is never switched
    share: Share = ALL_FLOWS
    guards: bool = True  # by it the NF reads streams, itself or by what it follows; not where it is
    # set for a stream's bytes only to say which of its filters, or whose share, an event is in


@dataclass(frozen=True, slots=True)
class AreaShape:
    """Shape of an NF's area (struct mb_nf_geometry)."""

    log_slots: int
    own_slots: int
    ring_bytes: int
    is_inline: bool
    command_slots: int = 0
    rewrites: bool = False
    editor: int = 0  # its number among the NFs that edit packets, from 1; 0: it does not
    edit_bytes: int = 0  # of its ring of replaced bytes


@dataclass(frozen=True, slots=True)
class WorkerDerivedType:
    """A type that the stack, or an NF, derives (struct mb_derived_type)."""

    type: int
    parent: int  # a derived type further up the list; 0: none
    bases: list[int]  # types of its own
    program: bytes
    step_count: int
    counters: int


@dataclass(frozen=True, slots=True)
class Configure:
    """The NF's place in the plan."""

    kind = "configure"
    index: int
    bits: list[Bit]  # bit 0 of this list has no filter: timers and system events come on it
    shape: AreaShape
    cut: int  # 0: no batches
    user_types: list[TypeDeclaration]  # numbered from the count of built-in types on
    names: list[str]  # of all NFs, by index
    command_delay: int = 0  # packets until a command takes effect; 0: it gives none
    streams: list[int] = field(default_factory=list)  # types that carry bytes of a stream, or say
    # that some will never come: a drop of one drops the flow
    share: Share = ALL_FLOWS  # of the flows: its bits are set for that share alone
    skips: bool = False  # it holds back nobody, and loses what it is too slow for
    loses: list[int] = field(default_factory=list)  # numbers of types that count as lost
    derives: list[WorkerDerivedType] = field(
        default_factory=list
    )  # what it publishes besides, behind its own events; parents before children


@dataclass(frozen=True, slots=True)
class Area:
    """The NF's own area is made and sealed."""

    kind = "area"  # + 1 descriptor


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """What is known of the hosts of a network (struct mb_host_network)."""

    network: str  # 10.0.0.0/8, 2001:db8::/32
    segments: int  # enum mb_overlap_policy
    fragments: int  # enum mb_overlap_policy
    hops: int


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """A user's module of the stack."""

    source: str  # path of the shared object
    types: list[int]  # numbers of the types that it publishes, in its own order


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Open the capture, make log and counters."""

    kind = "start_worker"  # + capture, + its head where it is read as it comes, + output where
    # `output` is set
    input: str  # name for messages
    output: str
    packet_limit: int
    log_slots: int
    settings: dict[str, int]  # fields of struct mb_stack_config
    hosts: list[HostNetwork]
    modules: list[ModuleFile] = field(default_factory=list)  # in the order in which they run
    derived: list[WorkerDerivedType] = field(default_factory=list)  # parents before children
    pace: int = 0  # thousandths of the speed at which the packets were captured; 0: as fast as can
    # be
    continues: bool = False  # another worker before has handled
    packets_before: int = 0  # of the input, and begun the output
    editors: int = 0  # NFs that edit packets
    window: int = 0  # bytes that the capture is read into as it comes; 0: it is mapped


@dataclass(frozen=True, slots=True)
class WorkerAreas:
    """The worker's areas are made and sealed; what the capture is."""

    kind = "worker_areas"  # + log, + counters, + capture, + assembled datagrams, + versions of
    # edited frames where there are editors
    pool_size: int  # of the capture
    assembled_size: int
    editors: int  # NFs that edit packets
    version_bytes: int  # of each editor's versions
    file_size: int  # 0 where nobody knows
    format: str
    link_type: int
    is_window: bool = False  # the capture is read as it comes, into a window

    def mapping(self) -> Map:
        """What NFs are told of them."""
        return Map(
            self.pool_size, self.assembled_size, self.editors, self.version_bytes, self.is_window
        )


@dataclass(frozen=True, slots=True)
class Attach:
    """Let this NF hold the log."""

    kind = "attach"  # + the NF's area
    index: int
    shape: AreaShape
    fails_closed: bool
    skips: bool = False
    is_shadow: bool = False  # its verdicts are counted, and nothing comes of them
    catches_up: bool = False  # it is told of the flows that there are before its first packet


@dataclass(frozen=True, slots=True)
class WorkerSubscription:
    """One bit of one NF, as the worker sees it."""

    nf: int
    bit: int
    filter: str
    types: list[int]
    share: Share = ALL_FLOWS
    lost: list[int] = field(default_factory=list)  # of an NF that skips: those that it may lose
    guards: bool = True  # as that of Bit


@dataclass(frozen=True, slots=True)
class WorkerTimer:
    """A period that someone wants to be told of."""

    period: int
    bits: list[int]


@dataclass(frozen=True, slots=True)
class WorkerSwitch:
    """A subscription that its NF may switch on and off for a flow (struct mb_switch)."""

    nf: int
    subscription: int  # the NF's k-th
    bits: list[int]  # that go with it
    initially: bool
    drops: list[int] = field(default_factory=list)  # of later NFs, which go when its NF drops the
    # flow


@dataclass(frozen=True, slots=True)
class Subscribe:
    """All subscriptions and timers of all NFs, and what of it may be switched."""

    kind = "subscribe"
    subscriptions: list[WorkerSubscription]
    timers: list[WorkerTimer]
    switches: list[WorkerSwitch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Map:
    """Map the worker's log and the frames."""

    kind = "map"  # + log, + capture, + assembled datagrams, + versions where there are editors
    pool_size: int  # of the capture
    assembled_size: int
    editors: int
    version_bytes: int
    is_window: bool = False  # in the capture's place is a window, whose memory is used again


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Map another NF's area: to wait for it, to read it, or to wake it."""

    kind = "neighbour"  # + its area
    index: int
    shape: AreaShape
    bits: list[int]
    barrier: bool
    publishes: bool
    skips: bool = False
    cut: int = 0  # of the batches at whose ends it publishes; 0: it publishes at once
    is_shadow: bool = False  # its verdicts are not looked at, and its events are marked


@dataclass(frozen=True, slots=True)
class Begin:
    """To an NF: call start(). To the worker: let packets flow. To an NF that has waited after its
    start(): read."""

    kind = "begin"
    waits: bool = False  # it reads nothing before it has its place in the chain
    at: int = 0  # of one that has waited: the event from which on it reads


@dataclass(frozen=True, slots=True)
class Ready:
    """start() has returned."""

    kind = "ready"


@dataclass(frozen=True, slots=True)
class Failed:
    """The child cannot go on; it exits after this."""

    kind = "failed"
    error: str  # one sentence
    traceback: str = ""
    hint: str = ""
    parameter: str = ""  # whose value the NF refuses, "" where that is not why


@dataclass(frozen=True, slots=True)
class Problem:
    """Something went wrong that the child survives."""

    kind = "problem"
    severity: str  # "warning" | "error"
    error: str
    handler: str = ""
    event: str = ""  # the event in words: type, flow, packet number, time
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """finish() has returned."""

    kind = "finished"
    summary: dict[str, Any]  # what the NF's finish() returned: shown to people
    records: int  # lines in its log
    records_lost: int
    log_file: str


@dataclass(frozen=True, slots=True)
class Detach:
    """This NF's process is gone; or, in a pause, it leaves in order, and its process is told."""

    kind = "detach"
    index: int
    status: int
    in_order: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """The input is over now: end in order."""

    kind = "stop"


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """The worker died: read what there is, then end in order. Said again when one more is gone."""

    kind = "worker_gone"
    gone: list[int]  # NFs that are gone too: nobody else can say so now


@dataclass(frozen=True, slots=True)
class Join:
    """An NF that runs in a user's terminal wants a place in the chain."""

    kind = "join"
    name: str
    source: str  # absolute path of its file
    parameters: dict[str, Any]
    base: str  # directory that relative paths among the parameters count from
    after: list[str] | None = None  # whom it waits for; None: as its manifest suggests
    on_error: str = "stop"  # "stop" | "skip"
    fails_closed: bool = False
    skips: bool = False
    catches_up: bool = False
    deadline: float = 0.0  # seconds; 0: none
    is_confined: bool = True
    terminal: int = 0  # whose processes are one NF, one for each worker: a number of its own
    worker: int = 0  # whose log this process reads, counted from 0
    workers: int = 1  # how many processes there are


@dataclass(frozen=True, slots=True)
class Refused:
    """To an NF in a user's terminal: it cannot come, or cannot leave, and why."""

    kind = "refused"
    error: str  # sentences, one a line


@dataclass(frozen=True, slots=True)
class Leave:
    """An NF in a user's terminal wants to leave in order."""

    kind = "leave"


@dataclass(frozen=True, slots=True)
class Derive:
    """Somebody came who reads what is derived from what this NF publishes: all that it derives
    from now on. Answered by Met."""

    kind = "derive"
    derives: list[WorkerDerivedType]


@dataclass(frozen=True, slots=True)
class Accused:
    """This NF does not keep to the protocol of shared memory. Only the worker is believed that."""

    kind = "accused"
    index: int
    why: str  # as a part of a sentence about it


@dataclass(frozen=True, slots=True)
class Pause:
    """Handle no further packet, and answer when all NFs have read everything."""

    kind = "pause"


@dataclass(frozen=True, slots=True)
class FindFlows:
    """What is done for these flows? Answered by FoundFlows."""

    kind = "find_flows"
    number: int  # 0: by the tuple
    five_tuple: bytes  # struct mb_five_tuple; protocol 0: any


@dataclass(frozen=True, slots=True)
class FlowState:
    """What the stack does for a flow. Pairs are by direction, the originator's first."""

    number: int
    five_tuple: bytes  # struct mb_five_tuple
    packets: list[int]
    payload: list[int]  # bytes
    states: list[int]  # TCP's
    gets: list[list[int]]  # bits of subscriptions
    off: list[list[int]]  # those that would get events, but are switched off for the flow
    modules: int  # enum mb_module_bit
    streams: list[bool]  # whose bytes are put in order
    seen: list[bool]  # whether a packet went this way
    slot: int  # where it is in the flow table


@dataclass(frozen=True, slots=True)
class FoundFlows:
    """Those that there are."""

    kind = "found_flows"
    flows: list[FlowState]


@dataclass(frozen=True, slots=True)
class TraceFlow:
    """From now on measure what packets of this flow take, if it is there. Answered by
    FlowTraced."""

    kind = "trace_flow"
    number: int
    slot: int  # as FlowState says
    duration: int  # nanoseconds, after which it ends


@dataclass(frozen=True, slots=True)
class FlowTraced:
    """It has begun."""

    kind = "flow_traced"


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing is in flight."""

    kind = "paused"
    head: int  # where all NFs stand in the log
    is_over: bool = False  # there is no pause: the input is over


@dataclass(frozen=True, slots=True)
class Met:
    """The neighbour's area is mapped, or what is to be derived is known."""

    kind = "met"


@dataclass(frozen=True, slots=True)
class NewLog:
    """Write records into this file from now on: the one before was given another name. Answered by
    LogTaken."""

    kind = "new_log"  # + the file, open for appending


@dataclass(frozen=True, slots=True)
class LogTaken:
    """All that goes into the file before is in it, and it is closed."""

    kind = "log_taken"


@dataclass(frozen=True, slots=True)
class Promote:
    """In a pause: these NFs are in shadow no more. A Subscribe follows."""

    kind = "promote"
    nfs: list[int]
    fail_closed: list[int]  # NFs, also others than these, that do so from now on


@dataclass(frozen=True, slots=True)
class Prepare:
    """In a pause: could all be done that was said in it?"""

    kind = "prepare"


@dataclass(frozen=True, slots=True)
class Prepared:
    """It could, or not."""

    kind = "prepared"
    error: str = ""  # what could not, and why: nobody has come


@dataclass(frozen=True, slots=True)
class Abort:
    """In a pause: who was attached in it is gone again. The Subscribe of before follows."""

    kind = "abort"


@dataclass(frozen=True, slots=True)
class Resume:
    """Packets flow again."""

    kind = "resume"


@dataclass(frozen=True, slots=True)
class Resumed:
    """They do."""

    kind = "resumed"
    error: str = ""  # why the change was refused: everything is as it was before the pause


@dataclass(frozen=True, slots=True)
class Done:
    """All input handled, all NFs have read it, output written."""

    kind = "done"
    warning: str = ""
    complaint: str = ""


Message = (
    Load
    | Confined
    | Manifest
    | Configure
    | Area
    | StartWorker
    | WorkerAreas
    | Attach
    | Subscribe
    | Map
    | Neighbour
    | Begin
    | Ready
    | Failed
    | Problem
    | Finished
    | Detach
    | Stop
    | WorkerGone
    | Join
    | Refused
    | Leave
    | Derive
    | Accused
    | FindFlows
    | FoundFlows
    | TraceFlow
    | FlowTraced
    | Pause
    | Paused
    | Met
    | NewLog
    | LogTaken
    | Promote
    | Prepare
    | Prepared
    | Abort
    | Resume
    | Resumed
    | Done
)
