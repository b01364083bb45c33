"""What is published is what is read, for any values of a user's own type."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microbox import Event, NetworkFunction, on
from microbox.events.catalog import built_in
from microbox.nf.errors import UsageError
from microbox.nf.publication import Packer, common_prefix
from microbox.testing import run_nf
from tests.nf.conftest import MakeCapture, udp

CATALOG = built_in()

KINDS: dict[str, st.SearchStrategy[Any]] = {
    "u8": st.integers(0, 2**8 - 1),
    "u16": st.integers(0, 2**16 - 1),
    "u32": st.integers(0, 2**32 - 1),
    "u64": st.integers(0, 2**64 - 1),
    "i64": st.integers(-(2**63), 2**63 - 1),
    "f64": st.floats(allow_nan=False),
    "text": st.text(max_size=200),
}


@dataclass
class Declaration:
    name: str
    fields: dict[str, str] = field(default_factory=dict)
    doc: str = ""
    producer: str = "user"
    condition: str = ""


@st.composite
def types_and_values(draw: st.DrawFn) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Fields of a type, and values for some events of it."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=8))
    fields = {f"field{number}": kind for number, kind in enumerate(kinds)}
    event = st.fixed_dictionaries({name: KINDS[kind] for name, kind in fields.items()})
    return fields, draw(st.lists(event, min_size=1, max_size=5))


@given(types_and_values())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_users_event_comes_as_it_was_published(
    capture: MakeCapture, drawn: tuple[dict[str, str], list[dict[str, Any]]]
) -> None:
    fields, values = drawn
    name = "udp.datagram.odd"

    class Speaker(NetworkFunction):
        declares = {name: fields}  # noqa: RUF012
        publishes = [name]  # noqa: RUF012

        @on("udp.datagram")
        def speak(self, event: Event) -> None:
            for one in values:
                self.publish(name, event, **one)

    class Listener(NetworkFunction):
        declares = Speaker.declares

        def start(self) -> None:
            self.heard: list[dict[str, Any]] = []

        @on(name)
        def listen(self, event: Event) -> None:
            self.heard.append({one: getattr(event, one) for one in fields})
            assert event.source_port == 1000

        def finish(self) -> Mapping[str, Any]:
            return {"heard": self.heard}

    assert run_nf([Speaker, Listener], capture([udp(b"")])).summary["heard"] == values


def test_bytes_that_are_no_utf8_come_escaped(capture: MakeCapture) -> None:
    class Speaker(NetworkFunction):
        @on("udp.datagram")
        def speak(self, event: Event) -> None:
            self.alert(event, event.data)  # type: ignore[arg-type]

    assert run_nf(Speaker, capture([udp(b"caf\xe9")])).alerts[0].message == "caf\\xe9"


def packed(name: str, cause: str, payload: bytes, flags: int = 0, **fields: Any) -> bytearray:
    return Packer(CATALOG.resolve(name)).pack(fields, CATALOG.resolve(cause), payload, flags)


def test_what_cause_and_event_have_in_common_is_inherited() -> None:
    payload = bytes(range(56))
    assert packed("http.request", "tcp.data", payload)[:56] == payload
    assert packed("dns.query", "udp.datagram", payload)[:40] == payload[:40]
    assert packed("http.response", "tcp.end", payload)[:56] == payload[:40] + bytes(16)
    assert packed("alert", "timer", payload)[:40] == bytes(40)


def test_a_field_that_is_given_replaces_what_was_inherited() -> None:
    payload = packed("http.request", "tcp.data", bytes(56), offset=77, destination="10.0.0.9")
    assert struct.unpack_from("=Q", payload, 40) == (77,)
    assert payload[16:32] == bytes(10) + b"\xff\xff\x0a\x00\x00\x09"


def test_a_packets_addresses_are_turned_into_the_flows() -> None:
    source, destination = bytes([1]) * 16, bytes([2]) * 16
    payload = source + destination + b"\x01\x00\x02\x00" + bytes(20)
    from_responder = 1
    turned = packed("alert", "packet.ip.tcp", payload, from_responder)
    assert turned[:36] == destination + source + b"\x02\x00\x01\x00"
    assert packed("alert", "packet.ip.tcp", payload)[:36] == payload[:36]


def test_users_fields_are_inherited_among_their_own() -> None:
    catalog = CATALOG.with_user_types(
        [Declaration("flow.odd", {"a": "u32"}), Declaration("flow.odd.er", {"b": "u32"})]
    )
    odd, odder = catalog.resolve("odd"), catalog.resolve("odd.er")
    assert common_prefix(odder, odd) == (44, False)
    payload = Packer(odder).pack({"b": 2}, odd, bytes(40) + struct.pack("=II", 1, 0), 0)
    assert struct.unpack_from("=II", payload, 40) == (1, 2)


@pytest.mark.parametrize("value", [None, 1.5, [], object()])
def test_a_text_is_text_or_bytes(value: object) -> None:
    with pytest.raises(UsageError, match="field 'message' is text, but"):
        packed("alert", "timer", b"", message=value)
