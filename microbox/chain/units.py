"""Durations and sizes as people write them: 300s, 5m, 64MiB."""

from __future__ import annotations

import re

NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
BYTES = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")


def parse_duration(value: object) -> int:
    """Nanoseconds, from a text with a unit. Raises ValueError."""
    return _parse(value, NANOSECONDS)


def parse_size(value: object) -> int:
    """Bytes, from a text with a unit or a plain whole number. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _parse(value, BYTES)


def _parse(value: object, units: dict[str, int]) -> int:
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise ValueError("no quantity with a known unit")
    whole, _, fraction = match[1].partition(".")
    return int(whole + fraction) * units[match[2]] // int("1" + "0" * len(fraction))


def format_duration(nanoseconds: int) -> str:
    """The shortest exact text that `parse_duration` reads back: 5m, 1500ms."""
    return _format(nanoseconds, NANOSECONDS)


def format_size(size: int) -> str:
    """For people: 12.0 MiB, 640 B."""
    for unit in ("GiB", "MiB", "KiB"):
        if size >= BYTES[unit]:
            return f"{size / BYTES[unit]:.1f} {unit}"
    return f"{size} B"


def format_exact_size(size: int) -> str | int:
    """The shortest exact value that `parse_size` reads back: 64MiB, 1000."""
    powers = {unit: BYTES[unit] for unit in ("KiB", "MiB", "GiB")}
    return _format(size, powers) if size and size % powers["KiB"] == 0 else size


def _format(amount: int, units: dict[str, int]) -> str:
    for unit, factor in sorted(units.items(), key=lambda item: -item[1]):
        if amount % factor == 0:
            return f"{amount // factor}{unit}"
    return str(amount)
