"""What an NF's class says about itself."""

from __future__ import annotations

from typing import Any, ClassVar

from microbox import DROP, DROP_FLOW, NetworkFunction, every, on, on_batch
from microbox.nf.manifest import FLOW_STATE_HANDLER, is_inline, manifest_of


class Passive(NetworkFunction):
    """Counts.

    And no more.
    """

    inline = False
    declares: ClassVar = {"tcp.data.smtp": {}, "tcp.data.smtp.command": {"verb": "text"}}
    publishes: ClassVar = ["smtp.command"]

    @on("tcp.data", "udp", filter="port 25")
    def see(self, event: Any) -> None:
        self.alert(event, "seen")

    @on_batch("packet")
    def many(self, batch: Any) -> None: ...

    @every(1.5)
    def tick(self) -> None: ...


def test_a_manifest_says_what_the_class_does() -> None:
    manifest = manifest_of(Passive)
    assert (manifest.class_name, manifest.doc) == ("Passive", "Counts.\n\nAnd no more.")
    assert manifest.file == __file__
    see, many = manifest.handlers
    assert (see.handler, see.types, see.filter, see.batch) == (
        "see",
        ["tcp.data", "udp"],
        "port 25",
        False,
    )
    assert (many.types, many.batch) == (["packet"], True)
    assert see.line < many.line
    assert [(one.handler, one.period) for one in manifest.timers] == [("tick", 1_500_000_000)]
    assert manifest.publishes == ["flow.tcp.data.smtp.command", "alert"]
    assert [(one.name, one.fields) for one in manifest.declares] == [
        ("flow.tcp.data.smtp", {}),
        ("flow.tcp.data.smtp.command", {"verb": "text"}),
    ]
    assert not manifest.is_inline


def helper() -> Any:
    return DROP


def test_who_may_drop_is_inline() -> None:
    """This module names DROP: what is defined in it may drop unless it says otherwise."""

    class Dropper(NetworkFunction):
        @on("tcp")
        def see(self, event: Any) -> Any:  # noqa: ARG002
            return DROP_FLOW

    assert is_inline(Dropper)
    assert not is_inline(Passive)
    assert manifest_of(Passive).edits == ""


class Stateful(NetworkFunction):
    @on("tcp.data")
    def see(self, event: Any) -> None:
        event.flow.state = 1

    @on("packet.ip.udp")
    def datagram(self, event: Any) -> None: ...


def test_who_keeps_state_of_flows_is_told_of_their_ends() -> None:
    added = manifest_of(Stateful).handlers[-1]
    assert added.handler == FLOW_STATE_HANDLER
    assert (added.types, added.filter) == (["flow.tcp.end", "flow.udp.end"], "")
