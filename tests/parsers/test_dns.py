"""DNS messages: over TCP, cut, malformed."""

from __future__ import annotations

from pathlib import Path

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbox.parsers.dns import MessageStream, addresses, parse
from microbox.testing import run_nf

PARSER = Path(__file__).parents[2] / "microbox" / "parsers" / "dns.py"
QUESTION = dns.message.make_query("www.shop.example", "AAAA").to_wire()


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 700))
def test_messages_come_out_of_a_stream_however_it_is_cut(messages: list[bytes], size: int) -> None:
    data = b"".join(len(one).to_bytes(2, "big") + one for one in messages)
    stream = MessageStream()
    found = []
    for at in range(0, len(data), size):
        found += stream.feed(data[at : at + size])
    assert found == messages
    assert not stream.held


def test_what_is_not_complete_is_held() -> None:
    stream = MessageStream()
    assert stream.feed(b"\x00\x05abc") == []
    assert stream.feed(b"de") == [b"abcde"]


def test_a_whole_message_is_read() -> None:
    message, is_whole = parse(QUESTION)
    assert is_whole
    assert message is not None
    assert message.question[0].name.to_text() == "www.shop.example."


@pytest.mark.parametrize(
    "data", [b"", b"\x12\x34\x01", QUESTION[:20]], ids=["nothing", "half a header", "cut"]
)
def test_what_has_no_whole_question_is_no_message(data: bytes) -> None:
    assert parse(data) == (None, False)


def test_a_question_is_read_where_the_rest_is_malformed() -> None:
    response = dns.message.make_response(dns.message.from_wire(QUESTION)).to_wire()
    promising_an_answer = response[:6] + b"\x00\x01" + response[8:]
    message, is_whole = parse(promising_an_answer)
    assert not is_whole
    assert message is not None
    assert len(message.question) == 1


def test_the_addresses_of_an_answer_are_listed() -> None:
    response = dns.message.from_text(
        "id 1\nflags QR\n;QUESTION\nwww.example. IN A\n;ANSWER\n"
        "www.example. 60 IN CNAME web.example.\n"
        "web.example. 60 IN A 192.0.2.1\nweb.example. 60 IN A 192.0.2.2\n"
        "web.example. 60 IN AAAA 2001:db8::1\n"
    )
    assert addresses(response) == "192.0.2.1,192.0.2.2,2001:db8::1"


@given(st.binary(max_size=200))
def test_no_input_breaks_it(data: bytes) -> None:
    parse(data)
    parse(QUESTION[:-1] + data)


def test_malformed_messages_are_counted(demo: Path) -> None:
    # Three bytes that are sent to port 53: captures/record.py.
    assert run_nf(PARSER, demo).summary["malformed"] == 1


def test_other_ports_may_be_left_out(demo: Path) -> None:
    assert run_nf(PARSER, demo, multicast=False).summary["queries"] == 121
