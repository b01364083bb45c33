"""Captures with comments: tshark reads what was written."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbox.runtime.outputs.pcapng import (
    OPTION_MAX,
    CommentedPacket,
    PcapngWriter,
    option_text,
    padded,
)
from tests.conftest import Tshark

ETHERNET, RAW = 1, 101
FIELDS = ("frame.time_epoch", "frame.packet_id", "frame.encap_type", "frame.cap_len", "frame.len")


def packet(number: int, data: bytes, link_type: int = ETHERNET, *comments: str) -> CommentedPacket:
    time = 1_700_000_000_123_456_789 + number
    return CommentedPacket(number, time, link_type, data, len(data) + 10, comments)


def written(packets: list[CommentedPacket]) -> bytes:
    file = io.BytesIO()
    writer = PcapngWriter(file)
    for one in packets:
        writer.write(one)
    return file.getvalue()


def test_tshark_reads_times_lengths_numbers_and_link_types(tmp_path: Path, tshark: Tshark) -> None:
    capture = tmp_path / "a.pcapng"
    frames = [packet(7, bytes(61)), packet(9, b"\x45" + bytes(39), RAW), packet(2**33, bytes(64))]
    capture.write_bytes(written(frames))
    assert tshark(capture, "frame", *FIELDS) == [
        ("1700000000.123456796", "7", "1", "61", "71"),
        ("1700000000.123456798", "9", "7", "40", "50"),
        ("1700000008.713391381", str(2**33), "1", "64", "74"),
    ]


def test_tshark_shows_every_comment(tmp_path: Path, tshark: Tshark) -> None:
    capture = tmp_path / "a.pcapng"
    comments = ("ids: one", "größer → 2", "")
    capture.write_bytes(written([packet(1, bytes(60), ETHERNET, *comments)]))
    rows = tshark(capture, "frame", "frame.comment")
    assert [comment for (comment,) in rows] == list(comments)


def test_a_comment_that_is_too_long_is_cut_at_a_character() -> None:
    octets = option_text("ü" * OPTION_MAX)
    assert len(octets) == OPTION_MAX - 1
    assert octets.decode() == "ü" * (OPTION_MAX // 2)


@given(st.text())
def test_any_text_is_a_comment(text: str) -> None:
    assert option_text(text).decode()[:1] == text.encode("utf-8", "backslashreplace").decode()[:1]


@given(st.lists(st.binary(max_size=99), max_size=3), st.lists(st.text(max_size=9), max_size=3))
def test_blocks_have_their_length_at_both_ends(data: list[bytes], comments: list[str]) -> None:
    octets = written([packet(1, one, ETHERNET, *comments) for one in data])
    blocks = 0
    while octets:
        length = int.from_bytes(octets[4:8], "little")
        assert length % 4 == 0
        assert int.from_bytes(octets[length - 4 : length], "little") == length
        octets = octets[length:]
        blocks += 1
    assert blocks == 1 + bool(data) + len(data)


@pytest.mark.parametrize(("length", "whole"), [(0, 0), (1, 4), (4, 4), (5, 8)])
def test_padding_goes_to_32_bits(length: int, whole: int) -> None:
    assert len(padded(bytes(length))) == whole
