"""Columns of a batch hold what the events hold, cut at fixed places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from microbox import DROP, Batch, Event, NetworkFunction, Verdict, on, on_batch
from microbox.testing import RunFailed, run_nf
from tests.nf.conftest import MILLISECOND, START, MakeCapture, connection, udp


class Columns(NetworkFunction):
    """Notes some columns of each batch."""

    def start(self) -> None:
        self.batches: list[dict[str, Any]] = []

    @on_batch("packet")
    def see(self, batch: Batch) -> None:
        self.batches.append(
            {
                "count": len(batch),
                "time": batch.time.tolist(),
                "packet": batch.packet.tolist(),
                "length": batch.length.tolist(),
                "wire": int(batch.wire_length.sum()),
                "port": batch.source_port.tolist(),
                "direction": batch.direction.tolist(),
                "sent": batch.snapshot["side"][:, 0]["packets"].tolist(),
            }
        )

    def finish(self) -> Mapping[str, Any]:
        return {"batches": self.batches}


def test_columns_hold_what_the_packets_hold(capture: MakeCapture) -> None:
    frames = [udp(b"a"), udp(b"bcd"), *connection([b"x"])]
    batches = run_nf(Columns, capture(frames)).summary["batches"]
    together: dict[str, Any] = {
        name: [value for batch in batches for value in batch[name]]
        for name in ("time", "packet", "length", "port", "direction")
    }
    assert together["time"] == [START + number * MILLISECOND for number in range(len(frames))]
    assert together["packet"] == list(range(1, len(frames) + 1))
    assert together["length"] == [len(frame) for frame in frames]
    assert together["port"] == [1000, 1000, 1234, 80, 1234, 1234, 1234, 80, 1234]
    assert together["direction"] == [0, 0, 0, 1, 0, 0, 0, 1, 0]
    assert sum(batch["wire"] for batch in batches) == sum(map(len, frames))


def test_batches_end_at_the_same_places_every_time(capture: MakeCapture) -> None:
    path = capture([udp(b"") for _ in range(9000)])
    first, second = (run_nf(Columns, path).summary["batches"] for _ in range(2))
    counts = [batch["count"] for batch in first]
    assert counts == [batch["count"] for batch in second]
    assert sum(counts) == 9000
    assert len(counts) > 1


def test_events_beside_one_another_and_apart_are_both_columns(capture: MakeCapture) -> None:
    """With another handler in between, the batch's slots have holes."""

    class Apart(NetworkFunction):
        def start(self) -> None:
            self.numbers: list[int] = []

        @on("udp.start", "udp.end")
        def between(self, event: Event) -> None: ...

        @on_batch("udp.datagram")
        def see(self, batch: Batch) -> None:
            self.numbers += batch.packet.tolist()
            assert [event.packet for event in batch] == batch.packet.tolist()
            assert bytes(batch[0].data) == b"%d" % batch.packet[0]

        def finish(self) -> Mapping[str, Any]:
            return {"numbers": self.numbers}

    frames = [udp(b"%d" % number, source_port=number) for number in range(1, 60)]
    assert run_nf(Apart, capture(frames)).summary["numbers"] == list(range(1, 60))


def test_what_nfs_publish_comes_in_batches_too(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        declares: ClassVar = {"udp.datagram.word": {"word": "text", "number": "u32", "big": "u64"}}
        publishes: ClassVar = ["udp.datagram.word"]

        @on("udp.datagram")
        def speak(self, event: Event) -> None:
            self.publish("udp.datagram.word", event, word="w", number=event.packet, big=1 << 40)

    class Listener(NetworkFunction):
        declares = Speaker.declares

        def start(self) -> None:
            self.got: list[Any] = []

        @on_batch("udp.datagram.word")
        def listen(self, batch: Batch) -> None:
            rows = (batch.word, batch.number.tolist(), batch.big.tolist(), batch.time.tolist())
            self.got += zip(*rows, strict=True)

        def finish(self) -> Mapping[str, Any]:
            return {"got": self.got}

    got = run_nf([Speaker, Listener], capture([udp(b"")] * 3)).summary["got"]
    assert got == [("w", n, 1 << 40, START + (n - 1) * MILLISECOND) for n in (1, 2, 3)]


def test_a_batch_publishes_with_its_events_as_causes(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        @on_batch("udp.datagram")
        def speak(self, batch: Batch) -> None:
            for event in batch:
                if event.packet % 2:
                    self.alert(event, f"odd {event.packet}")

    alerts = run_nf(Speaker, capture([udp(b"")] * 4)).alerts
    assert [(one.message, one.packet) for one in alerts] == [("odd 1", 1), ("odd 3", 3)]


def test_a_batch_may_be_judged_event_by_event(capture: MakeCapture) -> None:
    class Dropper(NetworkFunction):
        @on_batch("udp.datagram")
        def judge(self, batch: Batch) -> Any:
            return np.where(batch.packet % 2 == 0, Verdict.DROP, Verdict.PASS)

    result = run_nf(Dropper, capture([udp(b"%d" % number) for number in range(1, 5)]))
    assert [packet.data[-1:] for packet in result.output] == [b"1", b"3"]
    assert result.verdicts == {DROP: 2}


def test_verdicts_have_to_be_as_many_as_events(capture: MakeCapture) -> None:
    class Dropper(NetworkFunction):
        inline = True

        @on_batch("udp.datagram")
        def judge(self, batch: Batch) -> Any:
            return [0] * (len(batch) + 1)

    with pytest.raises(RunFailed, match="one for each event of the batch"):
        run_nf(Dropper, capture([udp(b"")]))


class Keeper(NetworkFunction):
    """Keeps what it must not."""

    what: str = "batch"

    @on_batch("packet")
    def keep(self, batch: Batch) -> None:
        self.kept: Any = {
            "batch": lambda: batch,
            "column": lambda: batch.time,
            "slice": lambda: batch.time[2:3],
            "copy": batch.time.copy,
            "sum": lambda: int(batch.time.sum()),
        }[self.what]()


@pytest.mark.parametrize("what", ["batch", "column", "slice"])
def test_a_column_kept_past_the_handler_is_an_error_that_names_it(
    capture: MakeCapture, what: str
) -> None:
    with pytest.raises(RunFailed) as error:
        run_nf(Keeper, capture([udp(b"")] * 5), what=what)
    assert "keep kept its batch or a column of it past its return" in str(error.value)


@pytest.mark.parametrize("what", ["copy", "sum"])
def test_copies_may_be_kept(capture: MakeCapture, what: str) -> None:
    assert not run_nf(Keeper, capture([udp(b"")] * 5), what=what).problems


def test_an_unknown_column_is_answered_with_the_nearest(capture: MakeCapture) -> None:
    class Misspelling(NetworkFunction):
        @on_batch("packet")
        def see(self, batch: Batch) -> None:
            batch.wire_lenght  # noqa: B018

    with pytest.raises(RunFailed) as error:
        run_nf(Misspelling, capture([udp(b"")]))
    assert "a batch of packet has no column 'wire_lenght'; did you mean 'wire_length'?" in str(
        error.value
    )
