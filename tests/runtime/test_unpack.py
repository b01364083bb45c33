"""Packed captures and pipes give the bytes that were packed, or say where and why they do not."""

import fcntl
import gzip
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from microbox.runtime.errors import InputError
from microbox.runtime.inputs.capture import open_capture
from microbox.runtime.inputs.unpack import READ_SIZE, unpack

MOST = 64 << 20
Pack = Callable[[bytes], bytes]

packings = pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])


def unpacked(folder: Path, packed: bytes, most: int = MOST) -> tuple[bytes, str]:
    """What comes of a file with these bytes, and the warning."""
    (folder / "packed").write_bytes(packed)
    fd = os.open(folder / "packed", os.O_RDONLY)
    try:
        return contents(*unpack(fd, "packed", most))
    finally:
        os.close(fd)


def contents(fd: int, warning: str) -> tuple[bytes, str]:
    with os.fdopen(fd, "rb") as memory:
        return os.pread(memory.fileno(), MOST, 0), warning


@packings
def test_the_magic_number_tells_how_a_capture_is_packed(
    tmp_path: Path, demo: Path, pack: Pack
) -> None:
    (tmp_path / "named.pcap").write_bytes(pack(demo.read_bytes()))
    capture = open_capture(tmp_path / "named.pcap")
    assert os.pread(capture.fd, MOST, 0) == demo.read_bytes()
    assert capture.warning == ""
    seals = fcntl.fcntl(capture.fd, fcntl.F_GET_SEALS)
    assert seals & fcntl.F_SEAL_WRITE
    assert seals & fcntl.F_SEAL_SHRINK
    os.close(capture.fd)


@packings
def test_streams_in_a_row_are_one_capture(tmp_path: Path, pack: Pack) -> None:
    parts = [random.Random(seed).randbytes(READ_SIZE + seed) for seed in range(3)]
    assert unpacked(tmp_path, b"".join(map(pack, parts))) == (b"".join(parts), "")


def test_zeros_behind_gzip_members_are_padding(tmp_path: Path) -> None:
    assert unpacked(tmp_path, gzip.compress(b"one") + bytes(512)) == (b"one", "")


@packings
def test_a_packed_file_that_was_cut_says_where(tmp_path: Path, demo: Path, pack: Pack) -> None:
    whole = demo.read_bytes()
    packed = pack(whole)
    for cut in (5, 100, len(packed) // 2, len(packed) - 1):
        some, warning = unpacked(tmp_path, packed[:cut])
        assert whole.startswith(some)
        assert f"data end at byte {cut}, before their end; the {len(some)} bytes" in warning


@packings
def test_damage_gives_a_warning_or_other_bytes_but_never_an_escape(
    tmp_path: Path, sample: Path, pack: Pack
) -> None:
    packed = pack(sample.read_bytes())
    chance = random.Random(6)
    for _ in range(300):
        damaged = bytearray(packed)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(4, len(damaged))] = chance.randrange(256)
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            os.close(open_capture(tmp_path / "damaged", MOST).fd)
        except InputError as error:
            assert str(tmp_path / "damaged") in str(error)


def test_damage_is_said_with_its_place(tmp_path: Path) -> None:
    packed = gzip.compress(b"a capture") + b"no gzip data"
    some, warning = unpacked(tmp_path, packed)
    assert some == b"a capture"
    assert f"make no sense within the {len(packed)} bytes that end at byte {len(packed)}" in warning


@packings
def test_a_bomb_ends_at_the_limit_and_names_it(tmp_path: Path, pack: Pack) -> None:
    (tmp_path / "bomb").write_bytes(pack(bytes(200 << 20)))
    with pytest.raises(InputError, match=r"bomb: is .* more than 1\.0 MiB.*`input_bytes_max`"):
        open_capture(tmp_path / "bomb", 1 << 20)


def test_a_packed_text_is_no_capture(tmp_path: Path) -> None:
    (tmp_path / "text.pcap.gz").write_bytes(gzip.compress(b"this is no capture"))
    with pytest.raises(InputError, match="found text"):
        open_capture(tmp_path / "text.pcap.gz")


def test_a_pipe_may_bring_single_bytes(demo: Path) -> None:
    packed = gzip.compress(demo.read_bytes())
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for begin in range(5):
                pipe.write(packed[begin : begin + 1])
            pipe.write(packed[5:])

    thread = threading.Thread(target=write)
    thread.start()
    result = unpack(reading, "standard input", MOST)
    thread.join()
    os.close(reading)
    assert contents(*result) == (demo.read_bytes(), "")


def test_what_a_pipe_brings_is_limited(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"packed: brings more than 10 B.*`input_bytes_max`"):
        unpacked(tmp_path, bytes(11), most=10)
    assert unpacked(tmp_path, bytes(10), most=10) == (bytes(10), "")
