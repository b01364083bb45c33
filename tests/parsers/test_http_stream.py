"""HTTP/1 out of two byte streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbox.parsers._http_stream import Connection, Message

CLIENT, SERVER = 0, 1

GET = b"GET /a HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n8;name=value\r\ndefghijk\r\n0\r\nTrailer: value\r\n\r\n"
)


class Conversation:
    """Feeds a connection, keeps count of the streams' offsets, collects what is found."""

    def __init__(self, head_limit: int = 65536) -> None:
        self.connection = Connection(head_limit)
        self.offsets = [0, 0]
        self.messages: list[Message] = []

    def client(self, data: bytes, size: int = 0) -> Conversation:
        return self._feed(CLIENT, data, size)

    def server(self, data: bytes, size: int = 0) -> Conversation:
        return self._feed(SERVER, data, size)

    def gap(self, direction: int, length: int) -> Conversation:
        self.connection.gap(direction, length)
        self.offsets[direction] += length
        self.messages += self.connection.take()
        return self

    def close(self) -> Conversation:
        self.connection.close()
        self.messages += self.connection.take()
        return self

    def _feed(self, direction: int, data: bytes, size: int) -> Conversation:
        size = size or len(data)
        for start in range(0, len(data), size):
            segment = data[start : start + size]
            self.connection.feed(direction, memoryview(segment), self.offsets[direction])
            self.offsets[direction] += len(segment)
        self.messages += self.connection.take()
        return self

    @property
    def requests(self) -> list[str]:
        return [f"{m.method} {m.target}" for m in self.messages if m.is_request]

    @property
    def responses(self) -> list[tuple[int, int, int, bool]]:
        """Status, number, bytes of body, whether it is complete."""
        return [
            (m.status, m.number, m.body_length, m.is_complete)
            for m in self.messages
            if not m.is_request
        ]


def test_a_request_has_what_its_head_says() -> None:
    (request,) = Conversation().client(GET).messages
    assert (request.method, request.target, request.version) == ("GET", "/a", "1.1")
    assert request.headers == {"host": "shop.example", "user-agent": "test"}
    assert request.number == 1


def test_a_response_comes_when_its_body_is_complete() -> None:
    talk = Conversation().client(GET).server(OK[:-1])
    assert talk.responses == []
    assert talk.server(OK[-1:]).responses == [(200, 1, 5, True)]


@given(size=st.integers(1, 120))
def test_segmentation_makes_no_difference(size: int) -> None:
    talk = Conversation().client(GET + HEAD + GET, size)
    talk.server(OK + OK[:-5] + CHUNKED + OK, size)
    assert talk.requests == ["GET /a", "HEAD /a", "GET /a"]
    assert talk.responses == [
        (200, 1, 5, True),
        (200, 2, 0, True),
        (200, 3, 11, True),
        (200, 0, 5, True),
    ]


def test_offsets_are_those_of_the_first_byte() -> None:
    talk = Conversation().client(GET + GET).server(OK + OK, size=7)
    assert [message.offset for message in talk.messages] == [0, len(GET), 0, len(OK)]


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints"])
def test_an_interim_response_does_not_answer(status: bytes) -> None:
    talk = Conversation().client(GET).server(b"HTTP/1.1 " + status + b"\r\n\r\n" + OK)
    assert talk.responses == [(int(status[:3]), 1, 0, True), (200, 1, 5, True)]


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_responses_have_no_body_whatever_their_length_says(status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b"\r\nContent-Length: 99\r\n\r\n"
    talk = Conversation().client(GET + GET).server(head + OK)
    assert talk.responses == [(int(status[:3]), 1, 0, True), (200, 2, 5, True)]


def test_a_body_may_last_until_the_connection_ends() -> None:
    talk = Conversation().client(GET).server(b"HTTP/1.0 200 OK\r\n\r\nas long as it takes")
    assert talk.responses == []
    assert talk.close().responses == [(200, 1, 19, True)]


def test_a_body_cut_short_is_not_complete() -> None:
    assert Conversation().client(GET).server(OK[:-2]).close().responses == [(200, 1, 3, False)]


def test_a_body_of_a_request_is_skipped() -> None:
    post = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nGET"
    assert Conversation().client(post + GET).requests == ["POST /a", "GET /a"]


def test_a_tunnel_ends_the_reading() -> None:
    talk = Conversation().client(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
    talk.server(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert talk.connection.is_over
    assert talk.responses == [(200, 1, 0, True)]


def test_a_refused_tunnel_does_not() -> None:
    talk = Conversation().client(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
    talk.server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").client(GET).server(OK)
    assert talk.requests == ["CONNECT a.example:443", "GET /a"]
    assert talk.responses == [(403, 1, 2, True), (200, 2, 5, True)]


def test_another_protocol_after_an_upgrade_ends_the_reading() -> None:
    upgrade = b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    talk = Conversation().client(upgrade)
    talk.server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello")
    assert talk.connection.is_over
    assert talk.responses == [(101, 1, 0, True)]


def test_an_upgrade_that_is_not_taken_up_changes_nothing() -> None:
    upgrade = b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    talk = Conversation().client(upgrade + GET).server(OK + OK)
    assert talk.requests == ["GET /chat", "GET /a"]
    assert talk.responses == [(200, 1, 5, True), (200, 2, 5, True)]


NOT_HTTP = [
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"EHLO client.example\r\n",
    b"220 mail.example ESMTP\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"INVITE sip:a@b.example SIP/2.0\r\n",
    b"GET / HTTP/1.1 and more\r\n",
    b"\x00" * 10,
]


@pytest.mark.parametrize("data", NOT_HTTP)
def test_first_bytes_of_both_sides_that_are_not_http_end_it_at_once(data: bytes) -> None:
    talk = Conversation().client(data)
    assert not talk.connection.is_over
    talk.server(data)
    assert talk.connection.is_over
    assert talk.close().messages == []


@pytest.mark.parametrize("direction", [CLIENT, SERVER])
def test_a_side_that_speaks_no_http_is_not_listened_to_for_long(direction: int) -> None:
    connection = Connection()
    for _ in range(16):
        assert not connection.is_over
        connection.feed(direction, b"\x00" * 10, 0)
    assert connection.is_over


def test_a_server_may_answer_in_http_what_was_none() -> None:
    talk = Conversation().client(b"hello\r\n").server(OK.replace(b"200 OK", b"400 Bad Request"))
    assert talk.responses == [(400, 0, 5, True)]


def test_http_in_a_tunnel_through_a_socks_proxy_is_read() -> None:
    talk = Conversation().client(b"\x05\x01\x00").server(b"\x05\x00")
    talk.client(b"\x05\x01\x00\x01\xc6\x33\x64\x0a\x00\x50")
    talk.server(b"\x05\x00\x00\x01\xc6\x33\x64\x0a\x00\x50")
    talk.client(GET).server(OK)
    assert talk.requests == ["GET /a"]
    assert talk.responses == [(200, 1, 5, True)]


def test_first_bytes_that_may_become_http_are_waited_for() -> None:
    assert Conversation().client(GET, size=1).requests == ["GET /a"]


def test_missing_bytes_inside_a_body_change_nothing_else() -> None:
    talk = Conversation().client(GET + GET).server(OK[:-4]).gap(SERVER, 3).server(OK[-1:] + OK)
    assert talk.responses == [(200, 1, 2, True), (200, 2, 5, True)]


def test_missing_bytes_inside_a_chunk_change_nothing_else() -> None:
    before, after = CHUNKED.split(b"ghi")
    talk = Conversation().client(GET).server(before).gap(SERVER, 3).server(after)
    assert talk.responses == [(200, 1, 8, True)]


def test_missing_bytes_elsewhere_are_followed_by_a_search_for_a_message() -> None:
    talk = (
        Conversation().client(GET[:10]).gap(CLIENT, 1000).client(b"rest of something").client(GET)
    )
    assert talk.requests == ["GET /a"]


def test_a_start_line_inside_a_segment_is_no_message_after_missing_bytes() -> None:
    talk = Conversation().client(GET[:10]).gap(CLIENT, 1000).client(b"something " + GET)
    assert talk.requests == []


def test_after_missing_bytes_no_response_is_given_to_a_wrong_request() -> None:
    talk = Conversation().client(GET).gap(CLIENT, 1000).server(OK)
    assert talk.responses == [(200, 0, 5, True)]


def test_a_head_without_end_is_not_kept() -> None:
    talk = Conversation(head_limit=1000)
    talk.client(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000, size=100)
    assert all(len(side.held) <= 1000 for side in talk.connection.sides)
    assert talk.requests == []


def test_requests_without_responses_are_not_all_kept() -> None:
    talk = Conversation().client(GET * 1000)
    assert len(talk.requests) == 1000
    assert len(talk.connection.pending) <= 100


@pytest.mark.parametrize("size", [b"x", b"-1", b"1" * 40, b"\xff", b"8" * 70000], ids=repr)
def test_a_chunk_size_that_is_none_ends_the_body(size: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    talk = Conversation().client(GET).server(head + size + b"\r\n" + OK)
    assert talk.responses == [(200, 1, 0, False)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([CLIENT, SERVER]),
            st.one_of(
                st.integers(1, 2000),
                st.binary(min_size=1, max_size=200),
                st.sampled_from([GET, HEAD, OK, CHUNKED, GET[:20], OK[:50], CHUNKED[:60]]),
            ),
        ),
        max_size=30,
    )
)
def test_no_input_breaks_it(steps: list[tuple[int, int | bytes]]) -> None:
    connection = Connection(head_limit=300)
    offsets = [0, 0]
    for direction, step in steps:
        if isinstance(step, int):
            connection.gap(direction, step)
            offsets[direction] += step
        else:
            connection.feed(direction, step, offsets[direction])
            offsets[direction] += len(step)
        assert all(len(side.held) <= 300 for side in connection.sides)
    connection.close()
    assert all(message.body_length >= 0 for message in connection.take())
