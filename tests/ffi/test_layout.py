"""Python's layouts are the compiler's."""

from __future__ import annotations

from dataclasses import dataclass, field

import cffi
import pytest

from microbox._core import ffi, lib
from microbox.events.catalog import EventType, built_in
from microbox.ffi.layout import payload_layout, struct_chain
from microbox.ffi.views import entry_dtype, nf_entry_dtype, payload_dtype, row_dtype, struct_dtype

CATALOG = built_in()
WITH_PAYLOAD = [one for one in CATALOG.types if one.payload != "none"]


@dataclass
class Declaration:
    name: str
    fields: dict[str, str] = field(default_factory=dict)
    doc: str = ""
    producer: str = "user"
    condition: str = ""


@pytest.mark.parametrize("of", WITH_PAYLOAD, ids=lambda one: one.name)
def test_a_payload_is_as_large_as_its_struct(of: EventType) -> None:
    assert payload_layout(of).size == ffi.sizeof(f"struct mb_{of.payload}")
    assert payload_dtype(of).itemsize == payload_layout(of).size


def test_entries_have_their_declared_sizes() -> None:
    assert entry_dtype().itemsize == lib.MB_ENTRY_SIZE
    assert nf_entry_dtype().itemsize == lib.MB_NF_ENTRY_SIZE
    assert entry_dtype().fields["payload"][1] == 72  # type: ignore[index]


def test_padding_has_no_name() -> None:
    assert "reserved" not in (struct_dtype("packet").names or ())
    assert "line0" not in (struct_dtype("log_page").names or ())


def test_a_users_fields_follow_the_parent_each_aligned() -> None:
    fields = {"a": "u8", "b": "u32", "c": "text", "d": "u16", "e": "f64", "f": "u8"}
    catalog = CATALOG.with_user_types([Declaration("flow.odd", fields)])
    layout = payload_layout(catalog.resolve("odd"))
    own = {place.field.name: place.offset for place in layout.places[-6:]}
    assert own == {"a": 40, "b": 44, "c": 48, "d": 56, "e": 64, "f": 72}
    assert layout.size == 80


def test_a_users_layout_is_cs() -> None:
    """The same struct, as C lays it out."""
    fields = {"a": "u8", "b": "u64", "c": "u16", "d": "i64", "e": "u32"}
    catalog = CATALOG.with_user_types([Declaration("timer.odd", fields)])
    layout = payload_layout(catalog.resolve("timer.odd"))
    compiler = cffi.FFI()
    compiler.cdef(
        "struct parent { uint64_t period; uint64_t missed; };"
        "struct odd { struct parent parent; uint8_t a; uint64_t b; uint16_t c; int64_t d;"
        " uint32_t e; };"
    )
    for place in layout.places[-5:]:
        assert place.offset == compiler.offsetof("struct odd", place.field.name)
    assert layout.size == compiler.sizeof("struct odd")


def test_an_entrys_row_has_the_payload_laid_flat() -> None:
    row = row_dtype(CATALOG.resolve("tcp.data"))
    assert row.itemsize == lib.MB_ENTRY_SIZE
    assert row.fields["offset"][1] == 72 + 40  # type: ignore[index]
    assert "payload" not in (row.names or ())


def test_a_row_leaves_out_what_lies_in_a_data_ring() -> None:
    row = row_dtype(CATALOG.resolve("http.request"))
    assert "offset" in (row.names or ())
    assert "number" not in (row.names or ())


def test_a_structs_chain_is_what_its_first_bytes_are() -> None:
    assert struct_chain("http_request") == ("http_request", "tcp_data", "flow", "five_tuple")
    assert struct_chain("timer") == ("timer",)
    assert struct_chain("none") == ()
