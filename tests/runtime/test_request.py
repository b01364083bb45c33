"""What is no request is told from what is one, whatever it is."""

from __future__ import annotations

import control_noise
import msgpack
import pytest

from microbox.runtime.control.request import Request, RequestError, parse

MESSAGES = 10_000


@pytest.mark.parametrize("wire", control_noise.requests("ids"), ids=lambda wire: wire["verb"])
def test_a_request_is_read_as_it_was_meant(wire: dict[str, object]) -> None:
    assert parse(msgpack.packb(wire)) == Request.model_validate(wire)


def test_random_and_damaged_messages_are_no_requests() -> None:
    errors = set()
    for payload in control_noise.noise(seed=6, count=MESSAGES, nf="ids"):
        with pytest.raises(RequestError) as error:
            parse(payload)
        errors.add(str(error.value).partition(":")[0])
    # Each kind of damage was met, and said.
    assert {"a request is one msgpack map, with each key once", "version", "verb", "nf"} <= errors
    assert any("at most 4096 bytes" in error for error in errors)


def test_what_is_wrong_is_said_in_words_of_the_protocol() -> None:
    with pytest.raises(RequestError, match=r"^verb: .*'status'.*'detach'.*'trace'.*'reload_chain'"):
        parse(msgpack.packb({"version": 1, "verb": "halt"}))
    with pytest.raises(RequestError, match=r"^'stop' is not about an NF"):
        parse(msgpack.packb({"version": 1, "verb": "stop", "nf": "ids"}))
