"""`event(...)` in an NF: what it declares, and how it is handled."""

from __future__ import annotations

from typing import Any

import pytest

from microbox import Batch, Event, NetworkFunction, event, on, on_batch
from microbox.nf.errors import DefinitionError
from microbox.nf.manifest import manifest_of
from microbox.testing import run_nf
from tests.nf.conftest import MakeCapture, connection


class Requests(NetworkFunction):
    """Count requests, and those that are the second of their connection."""

    get = event("tcp.data.get", when='data startswith "GET "', doc="A request.")
    second = event("second", parent="tcp.data.get", counters={"seen": "true"}, when="seen == 2")

    def start(self) -> None:
        self.found: list[tuple[str, bytes, int]] = []

    @on(get, second)
    def see(self, event: Event) -> None:
        self.found.append((event.name.rpartition(".")[2], bytes(event.data), event.offset))


def test_the_manifest_has_the_full_names_and_the_conditions() -> None:
    manifest = manifest_of(Requests)
    get, second = manifest.declares
    assert (get.name, get.when, get.doc) == (
        "flow.tcp.data.get",
        'data startswith "GET "',
        "A request.",
    )
    assert (second.name, second.counters, second.at_most) == (
        "flow.tcp.data.get.second",
        {"seen": "true"},
        0,
    )
    assert second.condition == "seen == 2; counting seen: true"
    assert second.line == get.line + 1
    assert manifest.handlers[0].types == ["tcp.data.get", "tcp.data.get.second"]


def test_the_handler_gets_what_fits_with_its_parents_fields(capture: MakeCapture) -> None:
    nf: Any = run_nf(Requests, capture(connection([b"GET a", b"PUT b", b"GET c"]))).nf
    assert nf.found == [("get", b"GET a", 0), ("get", b"GET c", 10), ("second", b"GET c", 10)]


def test_a_batch_is_of_what_fits(capture: MakeCapture) -> None:
    class Lengths(NetworkFunction):
        """Collect the lengths of long pieces."""

        long = event("tcp.data.long", when="data.length > 2")

        def start(self) -> None:
            self.lengths: list[int] = []

        @on_batch(long)
        def see(self, batch: Batch) -> None:
            self.lengths += batch.data_length.tolist()

    nf: Any = run_nf(Lengths, capture(connection([b"a", b"abc", b"ab", b"abcd"]))).nf
    assert nf.lengths == [3, 4]


def test_a_counter_counts_what_a_filter_does_not_let_through(capture: MakeCapture) -> None:
    class Fifth(NetworkFunction):
        """Collect packets by their number on the flow."""

        late = event("packet.ip.tcp.late", counters={"seen": "true"}, when="seen >= 5")

        def start(self) -> None:
            self.packets: list[tuple[int, int]] = []

        @on(late, filter="src port 80")
        def see(self, event: Event) -> None:
            self.packets.append((event.packet, event.direction))

    nf: Any = run_nf(Fifth, capture(connection([b"a", b"b"]))).nf
    assert nf.packets == [(7, 1)]  # of eight, the second and the seventh pass the filter


def test_a_class_inherits_declarations_and_may_override_them() -> None:
    class More(Requests):
        """Another condition."""

        get = event("tcp.data.get", when='data startswith "PUT "')
        more = event("tcp.data.put")

    assert [(one.name, one.when) for one in manifest_of(More).declares] == [
        ("flow.tcp.data.get", 'data startswith "PUT "'),
        ("flow.tcp.data.get.second", "seen == 2"),
        ("flow.tcp.data.put", "true"),
    ]


def test_an_unknown_parent_is_an_error_of_the_class() -> None:
    with pytest.raises(DefinitionError) as raised:

        class Wrong(NetworkFunction):
            """Wrong."""

            get = event("tcp.dta.get")

    assert str(raised.value).startswith("Wrong: event 'tcp.dta.get' (test_derived.py:")
    assert "unknown event type 'tcp.dta'; did you mean 'flow.tcp.data'" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"when": 5}, "when is a str, not 5"),
        ({"counters": {"n": 1}}, "counters map names to what is counted"),
        ({"at_most": -1}, "at_most is a whole number from 1, not -1"),
        ({"at_most": True}, "at_most is a whole number from 1, not True"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        event("tcp.data.x", **arguments)


def test_a_mistake_in_the_condition_keeps_the_nf_from_running(capture: MakeCapture) -> None:
    class Wrong(NetworkFunction):
        """Wrong."""

        get = event("tcp.data.get", when="data.lenght > 5")

        @on(get)
        def see(self, event: Event) -> None:
            """Never called."""

    with pytest.raises(Exception, match=r"test_derived\.py:\d+:43: Wrong: event .*'data\.length'"):
        run_nf(Wrong, capture(connection([b"x"])))
