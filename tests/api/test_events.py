"""`microbox.events`: events one after the other, which may be kept."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import pytest
from stack_driver.packets import UDP, Ethernet, IPv4, datagram

import microbox
from microbox import Event, NetworkFunction, on
from microbox.testing import run_nf
from tests.api.conftest import Interrupted
from tests.nf.conftest import MakeCapture, connection, udp

pytestmark = pytest.mark.usefixtures("nothing_left")


ALL = ("packet", "tcp", "udp", "icmp", "http.request", "dns")


def described(event: Any) -> tuple[Any, ...]:
    """All that an event shows, but the place in a log that other NFs need as well."""
    return (
        event.name,
        event.time,
        event.packet,
        event.direction,
        event.reason.name,
        event.flow.id,
        str(event.flow),
        [(side.state, side.bytes, side.round_trip) for side in event.snapshot.side],
        bytes(event.data),
        bytes(event.frame),
        event.cause is None,
        event.fields(),
        repr(event),
    )


class Describes(NetworkFunction):
    """What an NF sees."""

    def start(self) -> None:
        self.seen: list[Any] = []

    @on(*ALL)
    def see(self, event: Event) -> None:
        """All of it."""
        self.seen.append(described(event))


def test_events_show_what_an_nf_sees_also_when_they_were_kept(demo: Path) -> None:
    kept = list(microbox.events(demo, *ALL))
    function: Any = run_nf(Describes, demo).nf
    assert len(kept) > 20_000
    assert list(map(described, kept)) == function.seen


def test_they_come_in_order_while_the_loop_runs(demo: Path) -> None:
    packets = []
    for event in microbox.events(demo, "tcp.end", "dns.query"):
        packets.append(event.packet)
    assert packets == sorted(packets)


def test_an_event_is_an_event(sample: Path) -> None:
    event = next(microbox.events(sample, "http.request"))
    assert isinstance(event, Event)
    assert event.host == "www.shop.example"
    with pytest.raises(AttributeError, match="did you mean 'host'"):
        _ = event.hots
    with pytest.raises(microbox.nf.errors.UsageError, match="flow.state"):
        _ = event.flow.state
    with pytest.raises(microbox.nf.errors.UsageError, match="NF that runs in a chain"):
        event.flow.unsubscribe()


def test_bytes_of_a_datagram_put_together_are_kept(capture: MakeCapture) -> None:
    """Its memory is used again for the next ones."""
    wholes = [bytes([number]) * 3000 for number in range(200)]
    frames = [
        fragment
        for number, whole in enumerate(wholes)
        for fragment in datagram(
            Ethernet() / IPv4() / UDP(1000, 2000) / whole, identification=number
        ).cut(1480)
    ]
    stack = {"assembled_datagrams_max": 16}
    events = list(microbox.events(capture(frames), "udp.datagram", stack=stack))
    assert [bytes(one.data) for one in events] == wholes


class Shouts(NetworkFunction):
    """Edits what is said."""

    edits = "payload"

    @on("packet.ip.udp")
    def shout(self, event: Event) -> None:
        """In capital letters."""
        event.edit(payload=bytes(event.data).upper())


def test_edits_of_nfs_in_front_are_seen(capture: MakeCapture) -> None:
    path = capture([udp(b"%03d hello" % number) for number in range(900)])
    events = list(microbox.events(path, "packet", nfs=[Shouts]))
    assert [bytes(one.data) for one in events] == [b"%03d HELLO" % number for number in range(900)]
    assert all(bytes(one.frame).endswith(bytes(one.data)) for one in events)
    rows = microbox.read(path, "packet", nfs=[Shouts], fields=["data", "frame"])
    assert rows.data.tolist() == [bytes(one.data) for one in events]
    assert rows.frame.tolist() == [bytes(one.frame) for one in events]


def test_a_break_leaves_nothing(demo: Path) -> None:
    for event in microbox.events(demo, "packet", "http.request"):
        assert event.packet == 1
        break


def test_a_with_ends_it(demo: Path) -> None:
    with microbox.events(demo, "packet") as events:
        assert next(events).packet == 1
        assert threading.active_count() > 1
    with pytest.raises(StopIteration):
        next(events)


def test_it_is_planned_at_the_call(sample: Path) -> None:
    with pytest.raises(ValueError, match="unknown event type 'tpc.end'"):
        microbox.events(sample, "tpc.end")
    with pytest.raises(ValueError, match="no event type"):
        microbox.events(sample)
    with pytest.raises(TypeError, match="is the path of a file, not 5"):
        microbox.events(5, "tcp.end")  # type: ignore[arg-type]


def test_the_stack_waits_for_the_loop(capture: MakeCapture) -> None:
    """A capture of many packets is not read ahead of the loop by more than the log holds."""
    path = capture([udp(b"x", port) for port in range(1000, 21_000)])
    events = microbox.events(path, "packet")
    next(events)
    held = len(events._pending.events)
    events.close()
    assert held <= 4096


def test_two_are_read_in_step(sample: Path) -> None:
    both = zip(microbox.events(sample, "packet"), microbox.events(sample, "packet"), strict=True)
    assert all(one.time == other.time for one, other in both)


def test_an_exception_in_the_loop_passes(sample: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in microbox.events(sample, "packet"):
            raise ZeroDivisionError


def test_ctrl_c_ends_it(interrupted: Interrupted, demo: Path) -> None:
    script = f"""
import microbox
print("ready")
while True:
    for event in microbox.events({str(demo)!r}, "http.request", "packet"):
        pass
"""
    assert interrupted(script).endswith("KeyboardInterrupt\n")


def test_the_name_is_the_folders_as_well(capture: MakeCapture) -> None:
    catalog = importlib.import_module("microbox.events.catalog")
    assert catalog.built_in().types
    assert next(microbox.events(capture(connection([b"x"])), "tcp.start")).packet == 1
