"""Messages survive the wire, and nothing else passes for one."""

import pytest

from microbox.channel.messages import (
    AreaShape,
    Begin,
    Bit,
    Configure,
    HandlerDeclaration,
    HostNetwork,
    Load,
    Manifest,
    Message,
    ParameterDeclaration,
    StartWorker,
    Subscribe,
    TimerDeclaration,
    TypeDeclaration,
    WorkerSubscription,
    WorkerTimer,
)
from microbox.channel.wire import WireError, from_wire, to_wire

MANIFEST = Manifest(
    class_name="Watch",
    file="watch.py",
    doc="Watches.",
    parameters=[ParameterDeclaration("threshold", "int", 20)],
    handlers=[HandlerDeclaration("seen", ["tcp.start"], "tcp port 80", line=12)],
    timers=[TimerDeclaration("tick", 1_000_000_000)],
    publishes=["alert"],
    declares=[TypeDeclaration("flow.tcp.odd", {"score": "u32"})],
    is_inline=True,
)

MESSAGES = [
    Begin(),
    MANIFEST,
    Load("watch", "watch.py", {"threshold": 3, "names": ["a", "b"], "deep": {"x": None}}),
    Configure(
        0, [Bit(4, "", [1, 2], [1])], AreaShape(4096, 0, 0, True), 0, MANIFEST.declares, ["w"]
    ),
    StartWorker(
        "in.pcap",
        "",
        0,
        4096,
        {"tcp_timeout": 300_000_000_000},
        [HostNetwork("10.0.0.0/8", 3, 3, 0)],
    ),
    Subscribe([WorkerSubscription(0, 4, "tcp", [1])], [WorkerTimer(10**9, [4])]),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert from_wire(to_wire(message)) == message


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        ([], "a message is a map, not list"),
        ({"kind": "rob"}, "unknown kind of message: 'rob'"),
        ({"kind": ["begin"]}, "unknown kind of message"),
        ({}, "unknown kind of message: None"),
        ({"kind": "begin", "more": 1}, "Begin: unknown field 'more'"),
        ({"kind": "detach", "index": 1}, "Detach: field 'status' is missing"),
        (
            {"kind": "subscribe", "subscriptions": {}, "timers": []},
            "Subscribe.subscriptions: expected a list, not dict",
        ),
        (
            {"kind": "subscribe", "subscriptions": [7], "timers": []},
            r"Subscribe.subscriptions\[0\]: expected a map, not int",
        ),
    ],
)
def test_what_is_no_message_is_named(wire: object, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        from_wire(wire)


def test_an_unknown_field_of_a_nested_dataclass_is_named() -> None:
    wire = to_wire(MANIFEST)
    wire["parameters"][0]["colour"] = "red"
    with pytest.raises(WireError, match=r"Manifest.parameters\[0\]: unknown field 'colour'"):
        from_wire(wire)
