"""The arrays that the runner reads in place of single deliveries."""

from __future__ import annotations

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


@pytest.mark.parametrize(("wanted", "found"), [(7, 0), (8, 1), (9, 3)])
def test_the_first_of_a_type_is_found(wanted: int, found: int) -> None:
    poll = Poll((0, 7, 1), (1, 8, 1), (2, 8, 1))
    assert lib.mb_find_type(poll.array, poll.count, wanted) == found


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


class Foreign:
    """One event of NF 3, in a pool of 1000 bytes: a text at offset 8 of a payload of 16 bytes."""

    def __init__(self) -> None:
        self.payload = ffi.new("uint8_t[]", 100)
        self.nf_entry = ffi.new("struct mb_nf_entry *")
        self.nf_entry.provenance.publisher = 3
        self.array = ffi.new("struct mb_delivery[]", 1)
        self.delivery = self.array[0]
        self.delivery.nf_entry = self.nf_entry
        self.delivery.entry = ffi.addressof(self.nf_entry, "entry")
        self.delivery.payload, self.delivery.payload_length = self.payload, 100
        self.delivery.bits = 1
        self.entry = self.nf_entry.entry
        self.entry.type, self.entry.frame, self.entry.frame_length = 7, 900, 100
        self.entry.data_offset, self.entry.data_length = 50, 50
        self.set_text(16, 84)

    def set_text(self, offset: int, length: int) -> None:
        text = ffi.cast("struct mb_text *", self.payload + 8)
        text.offset, text.length = offset, length

    def is_sound(self) -> bool:
        shapes = ffi.new("struct mb_payload_shape[]", 512)
        shapes[7] = {"size": 16, "texts": 1, "text": [8]}
        unsound = ffi.new("uint64_t[]", lib.MB_NFS_MAX)
        lib.mb_take_back_unsound(self.array, 1, shapes, 1000, unsound)
        assert list(unsound) == [int(nf == 3 and not self.delivery.bits) for nf in range(64)]
        return bool(self.delivery.bits)


LARGEST = 2**32 - 1


def test_an_nfs_event_up_to_the_ends_is_sound() -> None:
    assert Foreign().is_sound()


@pytest.mark.parametrize(
    ("offset", "length"), [(16, 85), (101, 0), (LARGEST, 1), (1, LARGEST), (LARGEST, LARGEST)]
)
def test_a_text_outside_its_payload_is_taken_back(offset: int, length: int) -> None:
    foreign = Foreign()
    foreign.set_text(offset, length)
    assert not foreign.is_sound()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frame", 901),
        ("frame", 2**64 - 1),
        ("frame_length", 101),
        ("data_offset", 51),
        ("data_length", 51),
        ("data_length", LARGEST),
    ],
)
def test_bytes_outside_the_pool_are_taken_back(field: str, value: int) -> None:
    foreign = Foreign()
    setattr(foreign.entry, field, value)
    assert not foreign.is_sound()


def test_a_payload_that_is_too_short_is_taken_back() -> None:
    foreign = Foreign()
    foreign.delivery.payload_length = 15
    assert not foreign.is_sound()
