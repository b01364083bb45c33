"""The catalog is what the tables say, and helps who misspells a name."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbox.events.catalog import (
    EVENT_ATTRIBUTES,
    DeclarationError,
    UnknownEventType,
    built_in,
    payload_fields,
    read_structs,
)

CATALOG = built_in()


@dataclass
class Declaration:
    name: str
    fields: dict[str, str] = field(default_factory=dict)
    doc: str = ""
    producer: str = "user"
    condition: str = ""


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("http.request", "flow.tcp.data.http.request"),
        ("flow.tcp.data.http.request", "flow.tcp.data.http.request"),
        ("event.flow.tcp.data", "flow.tcp.data"),
        ("tcp.data", "flow.tcp.data"),
        ("tcp", "flow.tcp"),
        ("packet", "packet"),
        ("event", "event"),
        ("client_hello", "flow.tcp.data.tls.client_hello"),
    ],
)
def test_a_name_may_leave_out_what_no_other_type_has(written: str, name: str) -> None:
    assert CATALOG.resolve(written).name == name


@pytest.mark.parametrize("one", CATALOG.types, ids=lambda one: one.name)
def test_every_type_is_found_by_its_full_name_and_number(one: object) -> None:
    assert one is CATALOG.resolve(one.name) is CATALOG.by_number(one.number)  # type: ignore[attr-defined]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownEventType) as error:
        CATALOG.resolve("http.requst")
    assert str(error.value).startswith(
        "unknown event type 'http.requst'; did you mean 'flow.tcp.data.http.request'"
    )
    assert error.value.nearest[0] == "flow.tcp.data.http.request"


def test_an_unknown_name_far_from_all_has_no_nearest() -> None:
    with pytest.raises(UnknownEventType, match="^unknown event type 'xyzzy'$"):
        CATALOG.resolve("xyzzy")


def test_an_ambiguous_name_lists_what_it_may_mean() -> None:
    with pytest.raises(UnknownEventType) as error:
        CATALOG.resolve("message.none")
    assert "unknown" in str(error.value)
    with pytest.raises(UnknownEventType) as error:
        CATALOG.with_user_types([Declaration("packet.query")]).resolve("query")
    assert str(error.value) == ("event type 'query' is ambiguous: flow.dns.query, packet.query")


def test_a_subscription_gets_all_that_lies_below() -> None:
    below = {one.name for one in CATALOG.descendants(CATALOG.resolve("tcp.anomaly"))}
    assert below >= {"flow.tcp.anomaly", "flow.tcp.anomaly.retransmission"}
    assert all(name.startswith("flow.tcp.anomaly") for name in below)
    assert CATALOG.descendants(CATALOG.types[0]) == CATALOG.types


def test_a_childs_payload_begins_with_its_parents() -> None:
    for one in CATALOG.types:
        if one.parent is not None and one.parent.fields:
            names = [each.name for each in one.fields]
            inherited = [each.name for each in one.parent.fields]
            assert names[: len(inherited)] == inherited, one.name


def test_no_field_hides_what_every_event_has() -> None:
    for one in CATALOG.types:
        assert not EVENT_ATTRIBUTES & {each.name for each in one.fields}


def test_fields_carry_their_comments_as_documentation() -> None:
    fields = {one.name: one for one in CATALOG.resolve("tcp.data").fields}
    assert fields["offset"].doc == (
        "of the first byte in this side's stream; the first byte after SYN is 0"
    )
    assert (fields["offset"].type_name, fields["source"].type_name) == ("u64", "address")
    assert "reserved" not in fields


def test_each_field_says_what_it_is() -> None:
    fields = {(one.owner, one.name, one.doc) for each in CATALOG.types for one in each.fields}
    assert sorted((owner, name) for owner, name, doc in fields if not doc) == []


def test_structs_are_laid_flat_without_padding() -> None:
    structs = read_structs(
        "struct mb_inner {\n    uint16_t a; /* first */\n    uint8_t reserved[6];\n};\n"
        "struct mb_outer {\n    struct mb_inner inner;\n    struct mb_text name;\n"
        "    uint8_t raw[16]; /* two\n                        lines */\n};\n"
    )
    flat = [(one.name, one.type_name, one.doc) for one in payload_fields(structs, "outer")]
    assert flat == [("a", "u16", "first"), ("name", "text", ""), ("raw", "address", "two lines")]


def test_reasons_are_numbered_by_their_rows() -> None:
    assert [one.number for one in CATALOG.reasons] == list(range(len(CATALOG.reasons)))
    assert CATALOG.reasons[0].name == "none"
    assert str(CATALOG.reasons[1]) == "fin"


# --- types of the users' own ---


def test_a_user_type_extends_its_parents_payload() -> None:
    catalog = CATALOG.with_user_types(
        [
            Declaration("flow.tcp.data.smtp"),
            Declaration("flow.tcp.data.smtp.command", {"verb": "text", "size": "u32"}),
        ]
    )
    command = catalog.resolve("smtp.command")
    assert command.number == len(CATALOG.types) + 1
    assert command.parent is catalog.resolve("smtp")
    assert [one.name for one in command.fields[-3:]] == ["offset", "verb", "size"]
    assert command in catalog.descendants(catalog.resolve("tcp.data"))
    assert command.struct == "tcp_data"


def test_the_same_declaration_twice_is_one_type() -> None:
    one = Declaration("packet.odd", {"count": "u8"})
    catalog = CATALOG.with_user_types([one, Declaration("packet.odd", {"count": "u8"})])
    assert len(catalog.types) == len(CATALOG.types) + 1


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (Declaration("flow.tcp.data"), "event type 'flow.tcp.data' exists already"),
        (
            Declaration("flow.tpc.odd"),
            "event type 'flow.tpc.odd' has no parent 'flow.tpc'; did you mean 'flow.tcp'?",
        ),
        (
            Declaration("Packet.Odd"),
            "'Packet.Odd' is no name for an event type: expected lower-case words joined by dots, "
            "the parent's first, as in 'tcp.data.smtp'",
        ),
        (
            Declaration("packet.odd", {"count": "u128"}),
            "field 'count' of 'packet.odd' is of unknown type 'u128': expected one of u8, u16, "
            "u32, u64, i64, f64, text",
        ),
        (Declaration("packet.odd", {"ttl": "u8"}), "'packet.odd' has a field 'ttl' already"),
        (Declaration("packet.odd", {"time": "u8"}), "'packet.odd' has a field 'time' already"),
        (Declaration("packet.odd", {"a.b": "u8"}), "'a.b' of 'packet.odd' is no name for a field"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(declaration: Declaration, message: str) -> None:
    with pytest.raises(DeclarationError) as error:
        CATALOG.with_user_types([declaration])
    assert str(error.value) == message


def test_two_different_declarations_of_one_name_are_refused() -> None:
    with pytest.raises(DeclarationError, match="'packet.odd' is declared twice"):
        CATALOG.with_user_types([Declaration("packet.odd"), Declaration("packet.odd", {"a": "u8"})])


def test_there_is_an_end_to_texts() -> None:
    texts = {f"text{number}": "text" for number in range(31)}
    with pytest.raises(DeclarationError, match="'packet.odd' has more than 30 texts"):
        CATALOG.with_user_types([Declaration("packet.odd", texts)])


def test_there_is_an_end_to_types() -> None:
    many = [Declaration(f"packet.odd{number}") for number in range(600)]
    with pytest.raises(DeclarationError, match="more than 512 event types"):
        CATALOG.with_user_types(many)


@given(st.text(max_size=40))
def test_any_text_is_found_or_refused(name: str) -> None:
    try:
        assert CATALOG.resolve(name).name.endswith(name.removeprefix("event."))
    except UnknownEventType as error:
        assert all(one in CATALOG.by_name for one in error.nearest)
