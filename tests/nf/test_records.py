"""Log lines: exact times, fields in order, nothing lost in silence."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbox import Event, NetworkFunction, every, on
from microbox.nf.errors import UsageError
from microbox.nf.record_forms import encoded, epoch_time, utc_time
from microbox.nf.records import RecordFile, RecordLog
from microbox.testing import run_nf
from tests.nf.conftest import START, MakeCapture, connection


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def log(tmp_path: Path, told: list[str]) -> Iterator[RecordLog]:
    made = RecordLog(RecordFile(tmp_path / "nf.jsonl"), name="nf", tell=told.append)
    yield made
    made.close()


@given(st.integers(0, 2**64 - 1))
def test_a_time_is_exact_to_the_nanosecond(time: int) -> None:
    seconds, _, nanoseconds = epoch_time(time).partition(".")
    assert int(seconds) * 10**9 + int(nanoseconds) == time
    assert len(nanoseconds) == 9


def test_times_in_words() -> None:
    assert utc_time(START) == '"2023-11-14T22:13:20.123456789Z"'
    assert utc_time(7) == '"1970-01-01T00:00:00.000000007Z"'


def test_a_line_has_time_and_fields_in_their_order(log: RecordLog) -> None:
    log.write(START, None, {"z": 1, "a": "ü\n", "m": None, "b": b"\xff", "l": [1.5, True]})
    log.write(START + 1, None, {})
    log.close()
    assert log.path.read_text() == (
        '{"timestamp": 1700000000.123456789, "z": 1, "a": "ü\\n", "m": null, "b": "\\\\xff", '
        '"l": [1.5, true]}\n'
        '{"timestamp": 1700000000.123456790}\n'
    )
    assert (log.written, log.lost) == (2, 0)


def test_lines_go_on_in_another_file(log: RecordLog, tmp_path: Path) -> None:
    log.write(START, None, {"number": 1})
    log.flush()
    log.write(START, None, {"number": 2})
    other = tmp_path / "other.jsonl"
    other.write_text("before\n")
    log.go_on_in(os.open(other, os.O_WRONLY | os.O_APPEND))
    log.write(START, None, {"number": 3})
    log.close()
    assert [line["number"] for line in map(json.loads, log.path.open())] == [1, 2]
    assert other.read_text().startswith('before\n{"timestamp": 1700000000.123456789, "number": 3')
    assert (log.written, log.lost) == (3, 0)


def test_a_record_names_the_flow(capture: MakeCapture) -> None:
    class Logging(NetworkFunction):
        @on("tcp.data")
        def see(self, event: Event) -> None:
            self.record(event, bytes=len(event.data))

        def finish(self) -> None:
            self.record(None, done=True)

    records = run_nf(Logging, capture(connection([b"abc"]))).records
    assert list(records[0].items()) == [
        ("timestamp", 1700000000.1264568),
        ("flow_id", 1),
        ("src_ip", "10.0.0.1"),
        ("src_port", 1234),
        ("dest_ip", "10.0.0.2"),
        ("dest_port", 80),
        ("proto", "TCP"),
        ("bytes", 3),
    ]
    assert list(records[1]) == ["timestamp", "done"]


def test_an_event_without_addresses_has_none_in_its_record(capture: MakeCapture) -> None:
    class Logging(NetworkFunction):
        @on("packet.arp")
        def arp(self, event: Event) -> None:
            self.record(event, kind="arp")

        @every(0.001)
        def tick(self, event: Event) -> None:
            self.record(event, kind="tick")

    arp = bytes(12) + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x01" + bytes(20)
    records = run_nf(Logging, capture([arp, arp, arp])).records
    assert {tuple(record) for record in records} == {("timestamp", "kind")}
    assert {record["kind"] for record in records} == {"arp", "tick"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": object}, "<class 'object'> (type) cannot be written as JSON"),
        ({"a": float("nan")}, "Out of range float values are not JSON compliant"),
        ({"timestamp": 1}, "every line has timestamp already; use another name"),
    ],
)
def test_what_json_cannot_say_is_refused(
    log: RecordLog, fields: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        log.write(0, None, fields)
    assert message in str(error.value)


def test_names_of_the_flow_are_free_in_a_line_that_is_about_no_event(capture: MakeCapture) -> None:
    class Naming(NetworkFunction):
        @on("tcp.start")
        def see(self, event: Event) -> None:
            self.record(None, proto="my own")
            with pytest.raises(UsageError, match="every line has proto already"):
                self.record(event, proto="my own")

    (record,) = run_nf(Naming, capture(connection([b"abc"]))).records
    assert record["proto"] == "my own"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values))
def test_any_fields_are_json(fields: dict[str, Any]) -> None:
    line = f'{{"timestamp": 0{encoded(fields)}}}'.encode("utf-8", "backslashreplace")
    assert json.loads(line) == {"timestamp": 0, **fields}


def test_nothing_is_made_where_nothing_is_written(log: RecordLog) -> None:
    log.close()
    assert not log.is_made
    assert not log.path.exists()


def test_a_directory_that_is_gone_costs_lines_but_no_crash(tmp_path: Path, told: list[str]) -> None:
    log = RecordLog(RecordFile(tmp_path / "gone" / "nf.jsonl"), name="nf", tell=told.append)
    for number in range(3):
        log.write(number, None, {})
        log.flush()
    log.close()
    assert (log.written, log.lost) == (0, 3)
    assert told == [f"{log.path} cannot be written: No such file or directory; lines are lost"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Files of this process do not grow past so many bytes, as on a disk that is full. Not for a
    whole test: what pytest itself prints may go to a file as well."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_loses_whole_lines_which_are_counted(log: RecordLog, told: list[str]) -> None:
    with files_of_at_most(1000):
        for number in range(100):
            log.write(number, None, {"number": number})
        log.close()
    lines = log.path.read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(len(lines)))
    assert 0 < log.path.stat().st_size <= 1000
    assert (log.written, log.lost) == (len(lines), 100 - len(lines))
    assert told == [f"{log.path} cannot be written: {os.strerror(errno.EFBIG)}; lines are lost"]


def test_lines_come_again_when_there_is_room_again(log: RecordLog, told: list[str]) -> None:
    with files_of_at_most(10):
        log.write(1, None, {})
        log.flush()
    log.write(2, None, {})
    log.close()
    assert log.path.read_text() == '{"timestamp": 0.000000002}\n'
    assert (log.written, log.lost, len(told)) == (1, 1, 1)
