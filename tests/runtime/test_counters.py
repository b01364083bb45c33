"""Counter pages are believed only when nobody can change them under the reader."""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from microbox._core import ffi, lib
from microbox.channel.messages import AreaShape
from microbox.runtime.accounts.counters import AreaError, MappedArea, NFPages

SHAPE = AreaShape(log_slots=4096, own_slots=0, ring_bytes=0, is_inline=True)
SIZE = 3 * 4096 + 4096  # page, two pages of counters, a verdict a slot


def unsealed(size: int) -> int:
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    return fd


@pytest.fixture
def area() -> Iterator[ffi.CData]:
    """An area as an NF makes it."""
    made = ffi.new("struct mb_area *")
    assert lib.mb_area_create(made, b"test", SIZE) == 0
    yield made
    lib.mb_area_destroy(made)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_sealed_area_is_read_as_its_owner_writes_it(area: ffi.CData) -> None:
    pages = NFPages(os.dup(area.fd), SHAPE)
    counters = ffi.cast("struct mb_nf_counters *", ffi.cast("char *", area.base) + 4096)
    counters.handled = 7
    counters.verdicts[lib.MB_DROP] = 2
    counters.published_by_type[11] = 5
    ffi.cast("struct mb_nf_page *", area.base).cursor = 99
    read = pages.counters()
    assert (read.values["handled"], pages.value("handled"), pages.cursor) == (7, 7, 99)
    assert (read.verdicts, read.published) == ({"drop": 2}, {11: 5})
    pages.close()


def test_an_area_that_its_owner_could_shrink_is_refused() -> None:
    before = open_descriptors()
    with pytest.raises(AreaError, match="cannot be mapped"):
        MappedArea(unsealed(SIZE), SIZE)
    assert open_descriptors() == before


def test_an_area_of_another_size_is_refused(area: ffi.CData) -> None:
    with pytest.raises(AreaError, match="cannot be mapped"):
        NFPages(os.dup(area.fd), replace(SHAPE, log_slots=8192))


def test_an_area_that_is_half_sealed_is_refused() -> None:
    fd = unsealed(SIZE)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    with pytest.raises(AreaError):
        MappedArea(fd, SIZE)


def test_what_is_no_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(SIZE))
    with pytest.raises(AreaError):
        MappedArea(os.open(tmp_path / "file", os.O_RDONLY), SIZE)
