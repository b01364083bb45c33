"""A class that is no valid NF is refused when it is made, with the line to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from microbox import NetworkFunction, every, on, on_batch
from microbox.nf.decorators import Subscription, Timer, handlers_of
from microbox.nf.errors import DefinitionError


def define(**members: Any) -> type[NetworkFunction]:
    return type("Odd", (NetworkFunction,), members)


def refusal(make: Callable[[], Any]) -> str:
    with pytest.raises(DefinitionError) as error:
        make()
    return str(error.value)


def without_event(self: Any) -> None: ...
def without_self(event: Any) -> None: ...
def with_three(self: Any, event: Any, more: Any) -> None: ...
async def async_generator(self: Any, event: Any) -> Any:
    yield self, event


def generator(self: Any, event: Any) -> Any:
    yield self, event


def fine(self: Any, event: Any) -> None: ...


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (
            without_event,
            "@on calls it with (self, event), but it takes (self). Write: def handle(self, event):",
        ),
        (
            without_self,
            "@on calls it with (self, event), but it takes (event); is `self` missing? "
            "Write: def handle(self, event):",
        ),
        (
            with_three,
            "@on calls it with (self, event), but it takes (self, event, more). "
            "Write: def handle(self, event):",
        ),
        (
            async_generator,
            "a handler returns a verdict, it does not yield: def handle(self, event):",
        ),
        (
            generator,
            "a handler returns a verdict, it does not yield: def handle(self, event):",
        ),
    ],
)
def test_a_signature_that_does_not_fit(handler: Callable[..., Any], message: str) -> None:
    said = refusal(lambda: define(handle=on("tcp.data")(handler)))
    assert said.startswith("Odd.handle (test_decorators.py:")
    assert said.endswith(f"): {message}")


def test_a_batch_handler_is_told_about_its_batch() -> None:
    assert refusal(lambda: define(handle=on_batch("packet")(without_event))).endswith(
        "Write: def handle(self, batch):"
    )


def test_an_unknown_type_is_answered_with_the_nearest() -> None:
    said = refusal(lambda: define(handle=on("tcp.dta")(fine)))
    assert (
        "unknown event type 'tcp.dta'; did you mean 'flow.tcp.data' or 'flow.tcp.state' or "
        "'flow.tcp.start'? (a type of your own belongs in `declares`, or is an "
        "`event(…)` of the class, in every NF that uses it)"
    ) in said


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: on(fine),  # type: ignore[arg-type]
            "@on takes names of event types, not the function 'fine': write @on(\"tcp.data\")",
        ),
        (on, '@on takes names of event types: write @on("tcp.data")'),
        (
            lambda: on("tcp", filter=80),  # type: ignore[arg-type]
            "@on's filter is a str in libpcap's syntax, not 80 (int): write filter=\"tcp port 80\"",
        ),
        (
            lambda: on("tcp")(staticmethod(fine)),
            "@on marks a staticmethod: a handler is a plain method, def fine(self, event)",
        ),
        (
            lambda: on("tcp")(Subscription),
            "@on marks the class 'Subscription': it belongs above a method, "
            "def handler(self, event)",
        ),
        (
            lambda: every("1s"),  # type: ignore[arg-type]
            "@every takes a number of seconds, not '1s' (str): write @every(1.0)",
        ),
        (lambda: every(0), "@every(0) is no period: expected more than 0 seconds"),
        (lambda: every(-1.5), "@every(-1.5) is no period: expected more than 0 seconds"),
    ],
)
def test_a_decorator_checks_what_it_is_given(make: Callable[[], Any], message: str) -> None:
    assert refusal(make) == message


def test_what_an_nf_publishes_must_be_an_nfs_to_publish() -> None:
    assert refusal(lambda: define(publishes=["tcp.data"])) == (
        "Odd.publishes: 'flow.tcp.data' cannot be published by an NF (producer: tcp_stream); "
        "declare a type of your own below it in `declares`"
    )
    assert refusal(lambda: define(publishes="alert")) == (
        'Odd.publishes is a list of names: write publishes = ["alert"]'
    )
    assert "unknown event type 'dns.qery'; did you mean" in refusal(
        lambda: define(publishes=["dns.qery"])
    )


def test_a_wrong_declaration_is_refused() -> None:
    assert refusal(lambda: define(declares={"tcp.data.x": {"a": "u9"}})) == (
        "Odd.declares: field 'a' of 'flow.tcp.data.x' is of unknown type 'u9': expected one of u8, "
        "u16, u32, u64, i64, f64, text"
    )
    assert refusal(lambda: define(declares=["tcp.data.x"])).startswith(
        "Odd.declares maps names to fields: write"
    )


def test_inline_is_a_truth_value() -> None:
    assert refusal(lambda: define(inline="yes")) == ("Odd.inline is True, False or None, not 'yes'")


def test_handlers_come_in_the_order_of_the_class_and_its_bases() -> None:
    class Base(NetworkFunction):
        @on("tcp")
        def first(self, event: Any) -> None: ...

        @every(0.5)
        def second(self) -> None: ...

    class Derived(Base):
        declares: ClassVar = {"packet.odd": {}}

        @on("packet.odd", filter="  udp   port 1 ")
        @on("tcp.data")
        def third(self, event: Any) -> None: ...

        @on("udp")
        def first(self, event: Any) -> None: ...

    found = [(one.name, one.mark, one.takes_event) for one in handlers_of(Derived)]
    assert found == [
        ("first", Subscription(("udp",), "", False), True),
        ("second", Timer(500_000_000), False),
        ("third", Subscription(("packet.odd",), "udp port 1", False), True),
        ("third", Subscription(("tcp.data",), "", False), True),
    ]
