"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbox.chain.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("300s", 300_000_000_000),
        ("5m", 300_000_000_000),
        ("1h", 3_600_000_000_000),
        ("1.5s", 1_500_000_000),
        ("250 ms", 250_000_000),
        ("7us", 7_000),
        ("9ns", 9),
    ],
)
def test_a_duration(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "wrong", [300, 1.5, True, None, "300", "s", "-1s", "1 day", "1e3s", "\u0661s"]
)
def test_no_duration(wrong: object) -> None:
    with pytest.raises(ValueError, match="no quantity with a known unit"):
        parse_duration(wrong)


@pytest.mark.parametrize(
    ("text", "size"), [("64MiB", 64 << 20), ("1.5KiB", 1536), ("2 GB", 2_000_000_000), (512, 512)]
)
def test_a_size(text: object, size: int) -> None:
    assert parse_size(text) == size


@given(st.integers(0, 1 << 62))
def test_what_is_written_is_read_back(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


def test_sizes_for_people() -> None:
    assert [format_size(size) for size in (640, 1536, 12 << 20, 3 << 30)] == [
        "640 B",
        "1.5 KiB",
        "12.0 MiB",
        "3.0 GiB",
    ]
