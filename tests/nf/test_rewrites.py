"""`event.flow.rewrite(...)`: a flow leaves with other names, in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from microbox import DROP, Event, NetworkFunction, on
from microbox.api import in_process
from microbox.nf.errors import DefinitionError
from microbox.nf.manifest import edits_of, is_inline
from microbox.testing import RunFailed, run_nf
from tests.nf.conftest import CLIENT, SERVER, MakeCapture, connection, udp

OUTSIDE = "192.0.2.7"


class Hider(NetworkFunction):
    """Hides every originator behind one address."""

    @on("flow.start")
    def hide(self, event: Event) -> None:
        """Its ports stay as they are, but for the first digit."""
        event.flow.rewrite(source=OUTSIDE, source_port=event.flow.source_port ^ 1)


class Swapped(NetworkFunction):
    """Gives each end the other's address: said twice, that is nothing."""

    @on("flow.start")
    def swap(self, event: Event) -> None:
        """Both ends."""
        event.flow.rewrite(source=event.flow.destination, destination=event.flow.source)


class Late(NetworkFunction):
    """Rewrites at the first byte of a stream."""

    @on("tcp.data")
    def rewrite(self, event: Event) -> None:
        """Once more for each segment: the last one holds."""
        event.flow.rewrite(destination="198.51.100.9")


class Blocker(NetworkFunction):
    """Stands behind an editor."""

    edits = ""  # whatever the rest of this file says

    @on("tcp.start")
    def refuse(self, event: Event) -> Any:
        """Sees what was received."""
        assert event.flow.source == CLIENT
        return DROP


class Undeclared(NetworkFunction):
    """Says that it does not edit."""

    edits = ""

    @on("flow.start")
    def try_it(self, event: Event) -> None:
        """Is told what to write."""
        event.flow.rewrite(source=OUTSIDE)


def ends_of(data: bytes) -> tuple[bytes, int, bytes, int]:
    return data[26:30], int.from_bytes(data[34:36]), data[30:34], int.from_bytes(data[36:38])


def ipv4(text: str) -> bytes:
    return bytes(int(one) for one in text.split("."))


def test_a_flow_leaves_with_its_new_name_both_ways(capture: MakeCapture) -> None:
    result = run_nf(Hider, capture(connection([b"hello"])))
    assert {ends_of(one.data) for one in result.output} == {
        (ipv4(OUTSIDE), 1235, ipv4(SERVER), 80),
        (ipv4(SERVER), 80, ipv4(OUTSIDE), 1235),
    }
    assert result.counters["gate_rewrites"] == 1
    assert result.counters["gate_translated"] == result.counters["packets"]


def test_what_leaves_depends_on_neither_the_log_nor_the_schedule(
    capture: MakeCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rewrite in the middle of each flow, drops behind it; the small log goes round, and its
    worker waits for each of the NFs again and again."""
    ports = range(1000, 2500)
    path = capture([frame for port in ports for frame in connection([b"a", b"b"], port=port)])
    outputs = []
    for slots in (4096, 4096, 65536):
        monkeypatch.setattr(in_process, "LOG_SLOTS", slots)
        outputs.append(run_nf([Hider, Late, Blocker], path).output)
    assert len(outputs[0]) == 7 * len(ports)
    assert outputs[0] == outputs[1] == outputs[2]


def test_said_twice_by_two_nfs_the_last_one_holds(capture: MakeCapture) -> None:
    result = run_nf([Hider, Swapped], capture([udp(b"hello")]))
    assert ends_of(result.output[0].data) == (ipv4(SERVER), 1001, ipv4(CLIENT), 2000)


def test_it_holds_from_the_packet_of_its_event_on(capture: MakeCapture) -> None:
    result = run_nf(Late, capture(connection([b"hello", b"world"])))
    changed = [ipv4("198.51.100.9") in ends_of(one.data) for one in result.output]
    assert changed == [False] * 3 + [True] * (len(changed) - 3)
    assert result.counters["gate_rewrites"] == 2


def test_later_nfs_get_events_as_received_and_may_drop(capture: MakeCapture) -> None:
    result = run_nf([Hider, Blocker], capture(connection([b"hello"])))
    assert result.counters["gate_dropped"] == 1
    assert ends_of(result.output[0].data)[2] == ipv4(OUTSIDE)


def test_who_rewrites_edits_headers_and_is_inline() -> None:
    assert edits_of(Hider) == "headers"
    assert is_inline(Hider)


def test_who_edits_is_not_passive() -> None:
    with pytest.raises(DefinitionError, match="leave out inline = False"):
        type("Wrong", (NetworkFunction,), {"inline": False, "edits": "headers"})
    with pytest.raises(DefinitionError, match='"headers", "payload", "" or None'):
        type("Wrong", (NetworkFunction,), {"edits": "all"})


def test_who_says_that_it_does_not_edit_is_told_what_to_write(capture: MakeCapture) -> None:
    with pytest.raises(RunFailed, match='write edits = "headers"'):
        run_nf(Undeclared, capture([udp(b"hello")]))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "says what"),
        ({"source": "2001:db8::1"}, "an IPv4 address, not '2001:db8::1'"),
        ({"source": 7}, "an IPv4 address, not 7"),
        ({"source_port": 65536}, "a number up to 65535, not 65536"),
        ({"destination_port": "80"}, "not '80'"),
    ],
)
def test_what_cannot_be_is_refused(
    capture: MakeCapture, names: dict[str, Any], message: str
) -> None:
    class Wrong(NetworkFunction):
        edits = "headers"

        @on("flow.start")
        def begin(self, event: Event) -> None:
            event.flow.rewrite(**names)

    with pytest.raises(RunFailed, match=message):
        run_nf(Wrong, capture([udp(b"hello")]))


def test_a_flow_that_has_ended_is_not_rewritten(capture: MakeCapture) -> None:
    class TooLate(NetworkFunction):
        edits = "headers"

        @on("udp.end")
        def end(self, event: Event) -> None:
            event.flow.rewrite(source=OUTSIDE)

    with pytest.raises(RunFailed, match="rewrite a flow at its start"):
        run_nf(TooLate, capture([udp(b"hello")]))
