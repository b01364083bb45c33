"""What an NF gets, what it may say, and what becomes of it: on real captures, over the real bus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from microbox import DROP, DROP_FLOW, PASS, PASS_FLOW, Event, NetworkFunction, every, on
from microbox.nf.reader import CAPACITY
from microbox.testing import RunFailed, run_nf
from tests.nf.conftest import START, MakeCapture, connection, udp


class Seen(NetworkFunction):
    """Notes what comes."""

    def start(self) -> None:
        self.seen: list[Any] = []

    def finish(self) -> Mapping[str, Any]:
        return {"seen": self.seen}


def test_an_event_shows_time_flow_direction_snapshot_and_bytes(capture: MakeCapture) -> None:
    class Reader(Seen):
        @on("tcp.data")
        def see(self, event: Event) -> None:
            self.seen.append(
                {
                    "name": event.name,
                    "time": event.time,
                    "packet": event.packet,
                    "flow": (event.flow.id, str(event.flow)),
                    "direction": event.direction,
                    "offset": event.offset,
                    "data": bytes(event.data),
                    "frame": len(event.frame),
                    "state": event.snapshot.side[0].state.name,
                    "bytes": event.snapshot.side[0].bytes,
                }
            )

    seen = run_nf(Reader, capture(connection([b"hello", b"world!"]))).summary["seen"]
    assert seen[1] == {
        "name": "flow.tcp.data",
        "time": START + 4_000_000,
        "packet": 5,
        "flow": (1, "10.0.0.1:1234 → 10.0.0.2:80 TCP"),
        "direction": 0,
        "offset": 5,
        "data": b"world!",
        "frame": 60,
        "state": "ESTABLISHED",
        "bytes": 11,
    }


def test_a_packet_of_the_responder_has_its_own_addresses_and_the_flow_the_originators(
    capture: MakeCapture,
) -> None:
    class Reader(Seen):
        @on("packet.ip.tcp")
        def see(self, event: Event) -> None:
            self.seen.append((event.source, event.flow.source, event.direction))
            self.record(event)

    result = run_nf(Reader, capture(connection([])))
    assert result.summary["seen"][1] == ("10.0.0.2", "10.0.0.1", 1)
    assert result.records[1]["src_ip"] == "10.0.0.1"


def test_a_handler_gets_what_lies_below_its_type_and_passes_its_filter(
    capture: MakeCapture,
) -> None:
    class Reader(Seen):
        @on("tcp", filter="tcp port 80 and src host 10.0.0.1")
        def see(self, event: Event) -> None:
            self.seen.append(event.name)

        @on("udp.datagram", filter="udp port 7")
        def never(self, event: Event) -> None:
            self.seen.append(event.name)

    frames = [*connection([b"x"]), udp(b"y")]
    seen = run_nf(Reader, capture(frames)).summary["seen"]
    assert set(seen) >= {"flow.tcp.start", "flow.tcp.data", "flow.tcp.state"}
    assert "flow.udp.datagram" not in seen


def test_two_handlers_of_one_event_are_called_in_the_order_of_the_class(
    capture: MakeCapture,
) -> None:
    class Reader(Seen):
        @on("udp.start")
        def first(self, event: Event) -> None:
            self.seen.append(("first", event.packet))

        @on("udp")
        def second(self, event: Event) -> None:
            self.seen.append(("second", event.name))

    seen = run_nf(Reader, capture([udp(b"")])).summary["seen"]
    assert seen[:2] == [("first", 1), ("second", "flow.udp.start")]


def test_timers_fire_in_packet_time_and_say_what_they_missed(capture: MakeCapture) -> None:
    class Reader(Seen):
        @every(0.002)
        def tick(self, event: Event) -> None:
            self.seen.append(("tick", event.time - START, event.missed))

        @every(0.004)
        def tock(self) -> None:
            self.seen.append("tock")

    seen = run_nf(Reader, capture([udp(b"")] * 9)).summary["seen"]
    ticks = [one for one in seen if one != "tock"]
    assert len(ticks) + sum(missed for _, _, missed in ticks) == 4
    assert seen.count("tock") == 2


# --- verdicts ---


def test_a_drop_removes_the_packet_from_the_output(capture: MakeCapture) -> None:
    class Dropper(NetworkFunction):
        @on("udp.datagram")
        def drop(self, event: Event) -> Any:
            return DROP if bytes(event.data) == b"bad" else PASS

    result = run_nf(Dropper, capture([udp(b"good"), udp(b"bad"), udp(b"fine")]))
    assert [packet.data[-4:] for packet in result.output] == [b"good", b"fine"]
    assert result.verdicts == {DROP: 1}


def test_a_drop_of_stream_bytes_drops_the_flow_from_there_on(capture: MakeCapture) -> None:
    class Dropper(Seen):
        @on("tcp.data")
        def drop(self, event: Event) -> Any:
            self.seen.append(bytes(event.data))
            return DROP if b"bad" in bytes(event.data) else None

    frames = connection([b"good", b"bad", b"more"])
    result = run_nf(Dropper, capture(frames))
    assert result.verdicts == {DROP_FLOW: 1}
    assert [packet.data for packet in result.output] == frames[:4]
    assert result.summary["seen"] == [b"good", b"bad"]


def test_after_pass_flow_the_nf_gets_nothing_more_of_the_flow(capture: MakeCapture) -> None:
    class Leaver(Seen):
        @on("tcp.data")
        def leave(self, event: Event) -> Any:
            self.seen.append((event.flow.source_port, bytes(event.data)))
            return PASS_FLOW if event.flow.source_port == 1 else None

    frames = connection([b"a", b"b"], port=1) + connection([b"c", b"d"], port=2)
    result = run_nf(Leaver, capture(frames))
    assert result.summary["seen"] == [(1, b"a"), (2, b"c"), (2, b"d")]
    assert len(result.output) == len(frames)


def test_an_nf_that_is_not_inline_may_not_drop(capture: MakeCapture) -> None:
    class Dropper(NetworkFunction):
        inline = False

        @on("udp.start")
        def drop(self, event: Event) -> Any:  # noqa: ARG002
            return DROP

    with pytest.raises(RunFailed) as error:
        run_nf(Dropper, capture([udp(b"")]))
    assert "drop returned DROP, but Dropper is not inline: write inline = True in the class" in str(
        error.value
    )


def test_what_is_no_verdict_is_an_error(capture: MakeCapture) -> None:
    class Talker(NetworkFunction):
        @on("udp.start")
        def talk(self, event: Event) -> Any:  # noqa: ARG002
            return True

    with pytest.raises(RunFailed) as error:
        run_nf(Talker, capture([udp(b"")]))
    assert (
        "talk returned True (bool): expected PASS, DROP, DROP_FLOW, PASS_FLOW, RESET, or nothing"
        in str(error.value)
    )


# --- the state of flows ---


def test_a_flows_state_is_the_nfs_own_and_goes_with_the_flow(capture: MakeCapture) -> None:
    class Counting(Seen):
        flow_state = Counter = dict

        @on("tcp.data")
        def count(self, event: Event) -> None:
            state = event.flow.state
            state["bytes"] = state.get("bytes", 0) + len(event.data)
            self.seen.append((event.flow.source_port, state["bytes"]))

    frames = connection([b"ab", b"c"], port=1) + connection([b"d"], port=2)
    result = run_nf(Counting, capture(frames))
    assert result.summary["seen"] == [(1, 2), (1, 3), (2, 1)]


def test_states_of_ended_flows_are_dropped(capture: MakeCapture) -> None:
    class Noting(NetworkFunction):
        @on("udp.start")
        def note(self, event: Event) -> None:
            assert event.flow.state is None
            event.flow.state = "noted"

        @on("udp.datagram")
        def check(self, event: Event) -> None:
            assert event.flow.state == "noted"

        def finish(self) -> Mapping[str, Any]:
            assert self._runtime is not None
            return {"kept": len(self._runtime.__dict__["_deliveries"].states)}

    # Each flow has timed out before the next one comes, and brings three events.
    frames = [udp(b"", source_port=port) for port in range(1, 6001)]
    kept = run_nf(Noting, capture(frames, spacing=100_000_000_000)).summary["kept"]
    # States go one poll after their flow.
    assert kept <= 2 * CAPACITY / 3


def test_an_event_without_a_flow_has_no_state(capture: MakeCapture) -> None:
    class Asking(NetworkFunction):
        @every(0.001)
        def ask(self, event: Event) -> None:
            assert not event.flow
            event.flow.state = 1

    with pytest.raises(RunFailed, match="flow.state: this event has no flow"):
        run_nf(Asking, capture([udp(b"")] * 9))


# --- what must not be kept ---


class Keeper(NetworkFunction):
    """Keeps what it must not."""

    what: str = "event"

    def start(self) -> None:
        self.kept: Any = None

    @on("udp.datagram")
    def keep(self, event: Event) -> None:
        ways: dict[str, Callable[[], Any]] = {
            "event": lambda: event,
            "flow": lambda: event.flow,
            "data": lambda: event.data,
            "slice": lambda: event.data[1:],
            "frame": lambda: memoryview(event.frame),
            "copy": lambda: (bytes(event.data), event.flow.id, event.time),
        }
        self.kept = ways[self.what]()


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("event", "its event"),
        ("flow", "its event"),
        ("data", "event.data or event.frame"),
        ("slice", "event.data or event.frame"),
        ("frame", "event.data or event.frame"),
    ],
)
def test_a_view_kept_past_the_handler_is_an_error_that_names_it(
    capture: MakeCapture, what: str, named: str
) -> None:
    with pytest.raises(RunFailed) as error:
        run_nf(Keeper, capture([udp(b"data")]), what=what)
    assert (
        f"keep kept {named} past its return: these are views of shared memory. Keep the values "
        "that you need: event.time, bytes(event.data), batch.time.copy()" in str(error.value)
    )


def test_values_may_be_kept(capture: MakeCapture) -> None:
    result = run_nf(Keeper, capture([udp(b"data")]), what="copy")
    assert result.nf.kept == (b"data", 1, START)  # type: ignore[attr-defined]


def test_a_kept_event_is_useless_afterwards(capture: MakeCapture) -> None:
    result = run_nf(Keeper, capture([udp(b"data")] * 2), what="event", on_error="skip")
    with pytest.raises(RuntimeError, match="keep kept an event past its return"):
        _ = result.nf.kept.time  # type: ignore[attr-defined]


# --- handlers that raise ---


class Raising(Seen):
    """Raises on every other packet."""

    @on("udp.datagram")
    def see(self, event: Event) -> None:
        if event.packet % 2:
            raise ValueError(f"packet {event.packet}")
        self.seen.append(event.packet)

    @on("udp.datagram")
    def also(self, event: Event) -> None:
        self.seen.append(-event.packet)


def test_with_stop_the_first_error_ends_the_nf(capture: MakeCapture) -> None:
    with pytest.raises(RunFailed) as error:
        run_nf(Raising, capture([udp(b"")]))
    assert "ValueError: packet 1" in str(error.value)
    assert 'raise ValueError(f"packet {event.packet}")' in str(error.value)
    assert "microbox/nf/runner.py" not in str(error.value)


def test_with_skip_each_error_is_told_and_the_other_handlers_go_on(capture: MakeCapture) -> None:
    result = run_nf(Raising, capture([udp(b"")] * 4), on_error="skip")
    assert result.summary["seen"] == [-1, 2, -2, -3, 4, -4]
    first = result.problems[0]
    assert (first.severity, first.handler, first.error) == (
        "warning",
        "see",
        "ValueError: packet 1",
    )
    assert first.event.startswith("flow.udp.datagram, flow 1 10.0.0.1:1000 → 10.0.0.2:2000 UDP")


def test_many_errors_are_told_a_few_times_and_counted(capture: MakeCapture) -> None:
    result = run_nf(Raising, capture([udp(b"")] * 40), on_error="skip")
    assert len(result.problems) == 6
    assert result.problems[-1].error == "raised 20 times in all"


def test_a_wrong_field_is_named_with_the_nearest_right_one(capture: MakeCapture) -> None:
    class Misspelling(NetworkFunction):
        @on("tcp.data")
        def see(self, event: Event) -> None:
            event.offfset  # noqa: B018

    with pytest.raises(RunFailed) as error:
        run_nf(Misspelling, capture(connection([b"x"])))
    assert "flow.tcp.data has no field 'offfset'; did you mean 'offset'?" in str(error.value)


# --- what an NF says ---


def test_alerts_carry_message_signature_severity_and_flow(capture: MakeCapture) -> None:
    class Alerting(NetworkFunction):
        @on("udp.start")
        def tell(self, event: Event) -> None:
            self.alert(event, "a datagram", signature="udp", severity=3)

        def finish(self) -> None:
            self.alert(None, "the end")

    alerts = run_nf(Alerting, capture([udp(b"")])).alerts
    assert [one.message for one in alerts] == ["a datagram", "the end"]
    first = alerts[0]
    assert (first.signature, first.severity, first.nf, first.flow) == ("udp", 3, "Alerting", 1)
    assert (first.source, first.destination_port) == ("10.0.0.1", 2000)


def test_what_is_published_is_read_by_later_nfs_in_causal_order(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        declares: ClassVar = {"udp.datagram.word": {"word": "text", "number": "u32"}}
        publishes: ClassVar = ["udp.datagram.word"]

        @on("udp.datagram")
        def speak(self, event: Event) -> None:
            for number, word in enumerate(bytes(event.data).split()):
                self.publish("udp.datagram.word", event, word=word, number=number)

    class Listener(Seen):
        declares = Speaker.declares

        @on("udp.datagram.word")
        def listen(self, event: Event) -> None:
            assert event.cause is not None
            self.seen.append((event.word, event.number, event.packet, event.flow.source_port))

        @on("udp.datagram")
        def datagram(self, event: Event) -> None:
            self.seen.append(event.packet)

    frames = [udp(b"one two"), udp(b"three")]
    result = run_nf([Speaker, Listener], capture(frames))
    assert result.summary["seen"] == [
        1,
        ("one", 0, 1, 1000),
        ("two", 1, 1, 1000),
        2,
        ("three", 0, 2, 1000),
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"wrod": ""}, "publish('flow.udp.datagram.word'): there is no field 'wrod'; did you mean"),
        ({"word": 1}, "field 'word' is text, but 1 (int) was given"),
        ({"number": 1 << 32}, "field 'number' is u32, but 4294967296 (int) was given"),
        ({"source": "nowhere"}, "field 'source' is address, but 'nowhere' (str) was given"),
    ],
)
def test_fields_that_do_not_fit_are_named(
    capture: MakeCapture, fields: dict[str, Any], message: str
) -> None:
    class Speaker(NetworkFunction):
        declares: ClassVar = {"udp.datagram.word": {"word": "text", "number": "u32"}}
        publishes: ClassVar = ["udp.datagram.word"]

        @on("udp.datagram")
        def speak(self, event: Event) -> None:
            self.publish("udp.datagram.word", event, **fields)

    with pytest.raises(RunFailed) as error:
        run_nf(Speaker, capture([udp(b"")]))
    assert message in str(error.value)


def test_a_type_that_is_not_declared_is_not_published(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        @on("udp.start")
        def speak(self, event: Event) -> None:
            self.publish("dns.query", event)

    with pytest.raises(RunFailed) as error:
        run_nf(Speaker, capture([udp(b"")]))
    assert (
        "publish('dns.query'): the type is not declared; write publishes = [\"flow.dns.query\"] in "
        "Speaker" in str(error.value)
    )


def test_a_parser_is_added_by_itself(capture: MakeCapture) -> None:
    class Requests(Seen):
        @on("http.request")
        def see(self, event: Event) -> None:
            self.seen.append((event.method, event.target, event.host, event.number))

    request = b"GET /a HTTP/1.1\r\nHost: example\r\n\r\n"
    seen = run_nf(Requests, capture(connection([request[:10], request[10:]]))).summary["seen"]
    assert seen == [("GET", "/a", "example", 1)]


def test_publishing_before_the_first_event_is_refused(capture: MakeCapture) -> None:
    class Early(NetworkFunction):
        def start(self) -> None:
            self.alert(None, "too early")

        @on("udp")
        def see(self, event: Event) -> None: ...

    with pytest.raises(RunFailed, match="Early does not run yet"):
        run_nf(Early, capture([udp(b"")]))


def test_a_summary_that_is_no_dict_is_told(capture: MakeCapture) -> None:
    class Odd(NetworkFunction):
        @on("udp")
        def see(self, event: Event) -> None: ...

        def finish(self) -> Any:
            return 7

    problems = run_nf(Odd, capture([udp(b"")])).problems
    assert problems[0].error == (
        "finish returned 7 (int): expected a dict of what the summary should show, or nothing"
    )


def test_a_file_that_is_no_capture_is_refused(capture: MakeCapture) -> None:
    path = capture([udp(b"")])
    path.write_bytes(b"no capture at all, but some text that is long enough")
    with pytest.raises(RunFailed):
        run_nf(Raising, path)
