"""`microbox.read`: events as columns."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbox
from microbox import Columns, NetworkFunction, on
from microbox.cli.event_lines import fields_text
from tests.api.conftest import Interrupted
from tests.nf.conftest import MILLISECOND, START, MakeCapture, connection, udp

pytestmark = pytest.mark.usefixtures("nothing_left")


class Greetings(NetworkFunction):
    """Publishes the first bytes of each side."""

    publishes = ("flow.tcp.data.greeting",)
    declares = {"flow.tcp.data.greeting": {"line": "text", "length": "u32"}}  # noqa: RUF012

    @on("tcp.data")
    def see(self, event: Any) -> None:
        """At the beginning only."""
        if event.offset == 0:
            data = bytes(event.data)
            self.publish("tcp.data.greeting", event, line=data.decode(), length=len(data))


def test_an_event_is_a_row_and_a_field_a_column(sample: Path) -> None:
    requests = microbox.read(sample, "http.request")
    assert len(requests) == 1
    assert requests.type_name == "flow.tcp.data.http.request"
    assert requests["host"].tolist() == ["www.shop.example"]
    assert requests.destination_port.dtype == np.uint16
    assert requests[0]["source"] == "192.0.2.10"
    assert requests[0]["method"] == "GET"


class Attempts(NetworkFunction):
    """Publishes a count whose name is that of a time in the stack's events."""

    publishes = ("flow.attempt",)
    declares = {"flow.attempt": {"started": "u32"}}  # noqa: RUF012

    @on("packet")
    def see(self, event: Any) -> None:
        """Each time."""
        self.publish("flow.attempt", event, started=7)


def test_a_users_field_is_no_time_because_of_its_name(capture: MakeCapture) -> None:
    attempts = microbox.read(capture([udp(b"a")]), "flow.attempt", nfs=[Attempts])
    assert attempts["started"].tolist() == [7]
    (event,) = microbox.events(capture([udp(b"a")]), "flow.attempt", nfs=[Attempts])
    assert "started=7" in fields_text(event).split()


def test_times_are_numpys(capture: MakeCapture) -> None:
    packets = microbox.read(capture([udp(b"a"), udp(b"b")]), "packet")
    assert packets.time.dtype == np.dtype("datetime64[ns]")
    assert packets.time[0] == np.datetime64(START, "ns")
    assert packets.time[1] - packets.time[0] == np.timedelta64(MILLISECOND, "ns")


def test_all_packets_of_a_real_capture_are_there(demo: Path) -> None:
    packets = microbox.read(demo, "packet")
    assert sorted(set(packets.packet.tolist())) == list(range(1, int(packets.packet.max()) + 1))
    assert {"packet.arp", "packet.ip.tcp", "packet.ip.udp"} < set(packets["type"])
    assert {"192.0.2.10", "fd00:42::1", "::"} < set(packets.source)


def test_a_list_of_types_gives_a_table_each(demo: Path) -> None:
    tables = microbox.read(demo, ["tcp.start", "tcp.end", "dns.query"])
    assert list(tables) == ["tcp.start", "tcp.end", "dns.query"]
    assert sorted(tables["tcp.start"].flow) == sorted(tables["tcp.end"].flow)
    assert "question" in tables["dns.query"].names
    assert "question" not in tables["tcp.end"].names
    alone = microbox.read(demo, "dns.query")
    for name in alone.names:
        assert (alone[name] == tables["dns.query"][name]).all()


def test_reasons_and_states_are_words(demo: Path) -> None:
    ends = microbox.read(demo, "tcp.end", fields=["reason", "originator_state", "started", "time"])
    assert ends.names == ("reason", "originator_state", "started", "time")
    assert {"fin", "rst"} <= set(ends.reason)
    assert {"TIME_WAIT", "CLOSED"} <= set(ends.originator_state)
    assert (ends.started <= ends.time).all()
    changes = microbox.read(demo, "tcp.state", fields=["before", "after"])
    assert ("SYN_SENT", "ESTABLISHED") in set(zip(changes.before, changes.after, strict=True))


def test_both_sides_are_columns_on_demand(capture: MakeCapture) -> None:
    path = capture(connection([b"hello", b"world"]))
    ends = microbox.read(path, "tcp.end", fields=["originator_bytes", "responder_packets"])
    assert ends[0] == {"originator_bytes": 10, "responder_packets": 2}


def test_bytes_are_a_column_on_demand(capture: MakeCapture) -> None:
    frames = connection([b"hello", b"world"])
    rows = microbox.read(capture(frames), "tcp.data", fields=["data", "frame", "data_length"])
    assert rows.data.tolist() == [b"hello", b"world"]
    assert rows.frame.tolist() == frames[3:5]
    assert rows.data_length.tolist() == [5, 5]


def test_a_filter_leaves_out(demo: Path) -> None:
    https = microbox.read(demo, "tcp.end", filter="tcp port 443")
    assert set(https.destination_port) == {443}
    assert 0 < len(https) < len(microbox.read(demo, "tcp.end"))


def test_it_stops_after_so_many_packets(demo: Path) -> None:
    assert microbox.read(demo, "packet", count=100).packet.max() == 100


def test_events_of_a_users_nf_are_read(capture: MakeCapture) -> None:
    path = capture(connection([b"220 ready", b"more"]))
    greetings = microbox.read(path, "tcp.data.greeting", nfs=[Greetings])
    assert greetings["line"].tolist() == ["220 ready"]
    assert greetings["length"].tolist() == [9]


def test_events_are_filtered_in_the_stack(capture: MakeCapture) -> None:
    gets = microbox.event("tcp.data.get", when='data startswith "GET "')
    path = capture(connection([b"GET /", b"PUT /", b"GET /"]))
    assert microbox.read(path, gets).packet.tolist() == [4, 6]


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_chunks_are_the_whole(demo: Path, size: int) -> None:
    whole = microbox.read(demo, "dns", fields=["time", "question"])
    chunks = list(microbox.read(demo, "dns", fields=["time", "question"], chunk=size))
    assert all(len(one) == size for one in chunks[:-1])
    assert 0 < len(chunks[-1]) <= size
    assert np.concatenate([one.time for one in chunks]).tolist() == whole.time.tolist()
    assert [text for one in chunks for text in one.question] == whole.question.tolist()


def test_chunks_that_nobody_takes_are_given_up(demo: Path) -> None:
    chunks = microbox.read(demo, "packet", chunk=10)
    assert len(next(chunks)) == 10
    del chunks


def test_chunks_that_nobody_begins_are_given_up(demo: Path) -> None:
    microbox.read(demo, "packet", chunk=10)


def test_what_does_not_happen_has_columns_of_the_same_kind(sample: Path, demo: Path) -> None:
    nothing, some = (microbox.read(one, "tls.client_hello") for one in (sample, demo))
    assert (len(nothing), len(some) > 0) == (0, True)
    assert [nothing[name].dtype for name in nothing.names] == [
        some[name].dtype for name in some.names
    ]


@pytest.mark.parametrize(
    "event", ["packet", "flow", "tcp.state", "tcp.anomaly", "icmp", "dns.response", "timer"]
)
def test_rows_have_the_dtypes_that_are_promised(demo: Path, event: str) -> None:
    if event == "timer":
        with pytest.raises(ValueError, match="timer"):
            microbox.read(demo, event)
        return
    every = [*microbox.read(demo, event, count=1).names, "sequence", "data", "responder_window"]
    some = microbox.read(demo, event, fields=every)
    nothing = microbox.read(demo, event, fields=every, filter="port 9 and host 203.0.113.99")
    assert (len(some) > 0, len(nothing)) == (True, 0)
    assert [some[name].dtype for name in every] == [nothing[name].dtype for name in every]


def test_the_same_twice(demo: Path) -> None:
    first, second = (microbox.read(demo, "http").to_pandas() for _ in range(2))
    assert first.equals(second)


def test_several_threads_read_at_once(demo: Path) -> None:
    expected = microbox.read(demo, "http.request").target.tolist()
    seen: list[Any] = []

    def work() -> None:
        seen.append(microbox.read(demo, "http.request").target.tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert seen == [expected] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"events": "htp.request"}, "unknown event type 'htp.request'; did you mean"),
        ({"events": []}, "no event type is named"),
        ({"events": "alert"}, "nobody publishes 'alert'"),
        ({"events": "tcp.end", "filter": "tcp prt 80"}, "filter 'tcp prt 80'.*syntax error"),
        ({"events": "tcp.end", "fields": ["tme"]}, "'tme' is no column.*did you mean 'time'"),
        ({"events": "tcp.end", "count": 0}, "count is a number of packets from 1 on, not 0"),
        ({"events": "tcp.end", "chunk": 0}, "chunk is a number of rows from 1 on"),
        ({"events": ["tcp.end"], "chunk": 5}, "chunks are of one event type"),
        ({"events": "tcp.end", "stack": {"flows_mxa": 1}}, "stack.flows_mxa: Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_said(sample: Path, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        microbox.read(sample, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"events": 5}, {"events": "tcp", "fields": "time"}, {"events": "tcp", "filter": 5}],
)
def test_what_is_of_the_wrong_kind_is_said(sample: Path, arguments: Any) -> None:
    with pytest.raises(TypeError):
        microbox.read(sample, **arguments)


def test_a_file_that_is_no_capture_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no capture" * 10)
    with pytest.raises(microbox.RunError, match="notes.txt"):
        microbox.read(tmp_path / "notes.txt", "packet")
    with pytest.raises(microbox.RunError, match="No such file"):
        microbox.read(tmp_path / "none.pcap", "packet")


def test_an_nf_in_front_that_fails_ends_the_reading(sample: Path) -> None:
    class Fails(NetworkFunction):
        """Raises."""

        @on("tcp.start")
        def fail(self, event: Any) -> None:
            """Always."""
            raise ZeroDivisionError(event.flow)

    with pytest.raises(microbox.RunError, match="Fails: ZeroDivisionError"):
        microbox.read(sample, "packet", nfs=[Fails])


def test_ctrl_c_ends_it(interrupted: Interrupted, demo: Path) -> None:
    script = f"""
import microbox
print("ready")
while True:
    microbox.read({str(demo)!r}, "http.request")
"""
    assert interrupted(script).endswith("KeyboardInterrupt\n")


# --- the columns themselves ---


def test_rows_are_chosen_by_number_slice_and_mask() -> None:
    table = Columns({"port": np.array([80, 443, 80]), "name": np.array(["a", "b", "c"], object)})
    assert table[1] == {"port": 443, "name": "b"}
    assert table[table.port == 80].name.tolist() == ["a", "c"]
    assert table[1:].port.tolist() == [443, 80]
    assert [row["name"] for row in table] == ["a", "b", "c"]
    assert set(dict(table)) == {"port", "name"}


def test_a_wrong_column_is_said() -> None:
    table = Columns({"source_port": np.array([80])})
    with pytest.raises(KeyError, match="no column 'source_prt'; did you mean 'source_port'"):
        table["source_prt"]
    with pytest.raises(AttributeError, match="there are source_port"):
        _ = table.nothing_like_it


def test_pandas_and_arrow_get_the_same(sample: Path) -> None:
    requests = microbox.read(sample, "http.request")
    frame, table = requests.to_pandas(), requests.to_arrow()
    assert frame["host"].tolist() == table["host"].to_pylist() == ["www.shop.example"]
    assert str(frame["time"].dtype) == "datetime64[ns]"
    assert str(table.schema.field("time").type) == "timestamp[ns]"
    assert str(table.schema.field("host").type) == "string"


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_pandas"), ("pyarrow", "to_arrow")])
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, method: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"pip install {package}"):
        getattr(Columns({"a": np.array([1])}), method)()


def test_a_table_is_shown_by_its_first_rows(demo: Path) -> None:
    shown = repr(microbox.read(demo, "tcp.end"))
    assert shown.startswith("1,") and " rows of flow.tcp.end\n" in shown
    assert len(shown.splitlines()) == 13
