"""The arrays that the runner reads in place of single deliveries."""

from __future__ import annotations

from typing import Any

import pytest

from microbox._core import ffi, lib

LOG_SLOTS = 4096


class Poll:
    """Deliveries of entries in a log, as a reader would give them."""

    def __init__(self, *rows: tuple[int, int, int]) -> None:
        """Each row: sequence number, type, bits."""
        self.log = ffi.new("struct mb_entry[]", LOG_SLOTS)
        self.array = ffi.new("struct mb_delivery[]", len(rows))
        self.count = len(rows)
        for delivery, (sequence, number, bits) in zip(self.array, rows, strict=True):
            entry = self.log + sequence % LOG_SLOTS
            entry.sequence, entry.type = sequence, number
            delivery.entry, delivery.bits = entry, bits

    def select(self, bits: int, types: list[int]) -> list[int]:
        indexes = ffi.new("uint32_t[]", self.count)
        from_nfs = ffi.new("bool *")
        words = [sum(1 << (one % 64) for one in types if one // 64 == word) for word in range(8)]
        count = lib.mb_select(self.array, self.count, bits, words, indexes, from_nfs)
        return list(indexes[0:count])


def gathered(poll: Poll, last_type: int = 511) -> tuple[int, list[int], list[Any]]:
    keys = ffi.new("uint64_t[]", poll.count)
    entries = ffi.new("struct mb_entry *[]", poll.count)
    last = lib.mb_gather(poll.array, poll.count, last_type, keys, entries)
    return last, ffi.unpack(keys, poll.count), ffi.unpack(entries, poll.count)


def test_a_key_is_the_type_and_the_bits() -> None:
    poll = Poll((0, 7, 1), (1, 511, 0x80000000))
    _, keys, entries = gathered(poll)
    assert keys == [7 | 1 << 16, 511 | 0x80000000 << 16]
    assert [entry.sequence for entry in entries] == [0, 1]


@pytest.mark.parametrize(("last_type", "found"), [(7, 0), (8, 1), (9, 3)])
def test_the_first_of_a_type_is_found(last_type: int, found: int) -> None:
    assert gathered(Poll((0, 7, 1), (1, 8, 1), (2, 8, 1)), last_type)[0] == found


def test_what_is_selected_matches_bits_and_types() -> None:
    poll = Poll((0, 7, 1), (1, 7, 2), (2, 300, 3), (3, 8, 1), (4, 7, 0))
    assert poll.select(1, [7, 300]) == [0, 2]
    assert poll.select(2, [7, 300]) == [1, 2]
    assert poll.select(4, [7, 300]) == []


def test_slots_are_counted_from_the_logs_first() -> None:
    poll = Poll((LOG_SLOTS - 1, 7, 1), (LOG_SLOTS, 7, 1))
    indexes = ffi.new("uint32_t[]", [0, 1])
    slots = ffi.new("uint32_t[]", 2)
    first = lib.mb_gather_slots(poll.array, indexes, 2, LOG_SLOTS, slots)
    assert list(slots) == [LOG_SLOTS - 1, 0]
    assert first == poll.log


def test_copies_are_the_entries_chosen() -> None:
    poll = Poll((0, 7, 1), (1, 8, 1), (2, 9, 1))
    copies = ffi.new("struct mb_entry[]", 2)
    lib.mb_gather_copies(poll.array, ffi.new("uint32_t[]", [2, 0]), 2, copies)
    assert [copy.type for copy in copies] == [9, 7]
