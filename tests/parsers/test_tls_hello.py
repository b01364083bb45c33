"""TLS client hellos out of a byte stream."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbox.parsers._tls_hello import ClientHello, HelloReader


def real_hello(name: str | None = "www.shop.example", protocols: tuple[str, ...] = ()) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def as_records(data: bytes, size: int) -> bytes:
    """The same handshake bytes in records of `size`."""
    content = data[5:]
    return b"".join(
        b"\x16\x03\x01" + len(content[at : at + size]).to_bytes(2, "big") + content[at : at + size]
        for at in range(0, len(content), size)
    )


def read(data: bytes, size: int = 0, limit: int = 65536) -> tuple[list[ClientHello], HelloReader]:
    reader = HelloReader(limit)
    hellos = []
    for at in range(0, len(data), size or len(data)):
        hellos += reader.feed(data[at : at + (size or len(data))])
    return hellos, reader


def test_a_hello_of_openssl_is_read() -> None:
    (hello,), reader = read(real_hello(protocols=("h2", "http/1.1")))
    assert hello.server_name == "www.shop.example"
    assert hello.application_protocols == ("h2", "http/1.1")
    assert hello.version == 0x0304
    assert hello.cipher_suites > 10
    assert not reader.is_malformed


def test_a_hello_may_name_no_server() -> None:
    (hello,), _ = read(real_hello(name=None))
    assert hello.server_name == ""
    assert hello.application_protocols == ()


@given(st.integers(1, 300), st.integers(1, 300))
def test_neither_segments_nor_records_make_a_difference(segment: int, record: int) -> None:
    data = SHARED_HELLO
    assert read(as_records(data, record), segment)[0] == read(data)[0]


SHARED_HELLO = real_hello()


def test_a_second_hello_after_a_retry_request_is_read() -> None:
    change_cipher_spec = b"\x14\x03\x03\x00\x01\x01"
    hellos, reader = read(SHARED_HELLO + change_cipher_spec + SHARED_HELLO)
    assert [hello.server_name for hello in hellos] == ["www.shop.example"] * 2
    assert not reader.is_over


@pytest.mark.parametrize("after", [b"\x17\x03\x03\x00\x05hello", b"\x16\x03\x03\x00\x04\x10\0\0\0"])
def test_what_follows_the_hello_ends_the_reading(after: bytes) -> None:
    hellos, reader = read(SHARED_HELLO + after)
    assert len(hellos) == 1
    assert reader.is_over
    assert not reader.is_malformed


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1", b"\x16\x02", b"\x80\x2e\x01", b"\x17\x03\x03"])
def test_first_bytes_of_another_protocol_end_it_at_once(data: bytes) -> None:
    hellos, reader = read(data)
    assert (hellos, reader.is_over, reader.is_malformed) == ([], True, False)


@pytest.mark.parametrize(
    "talk",
    [
        [b"CONNECT www.shop.example:443 HTTP/1.1\r\n\r\n"],
        [b"\x05\x01\x00", b"\x05\x01\x00\x01\xc6\x33\x64\x0a\x01\xbb"],
        [b"\x04\x01\x01\xbb\xc6\x33\x64\x0a\x00"],
    ],
)
def test_a_hello_in_a_tunnel_through_a_proxy_is_read(talk: list[bytes]) -> None:
    reader = HelloReader()
    for segment in talk:
        assert reader.feed(segment) == []
    (hello,) = reader.feed(SHARED_HELLO)
    assert hello.server_name == "www.shop.example"


def test_a_tunnel_with_something_else_in_it_is_left() -> None:
    reader = HelloReader()
    for _ in range(10):
        assert not reader.is_over
        reader.feed(b"\x05\x01\x00")
    assert reader.is_over


def test_another_handshake_message_is_not_waited_for() -> None:
    assert read(b"\x16\x03\x03\x10\x00\x02\x00\x00\x4c")[1].is_over


def test_a_hello_cut_inside_a_field_is_malformed() -> None:
    data = bytearray(SHARED_HELLO)
    data[76] = 255  # length of the cipher suites
    hellos, reader = read(bytes(data))
    assert (hellos, reader.is_over, reader.is_malformed) == ([], True, True)


def test_a_hello_longer_than_the_limit_is_not_kept() -> None:
    long = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380)
    _, reader = read(long * 4, size=1000, limit=20000)
    assert reader.is_over
    assert not reader.records
    assert not reader.messages


@given(st.binary(max_size=400), st.integers(1, 50))
def test_no_input_breaks_it(tail: bytes, size: int) -> None:
    for begin in (0, 1, 6, 9, 43, 80, 120):
        _, reader = read(SHARED_HELLO[:begin] + tail, size, limit=500)
        assert len(reader.records) + len(reader.messages) <= 500
