"""The controller believes no child before it has looked at every field."""

import pytest

from microbox.channel.messages import Finished, Manifest, Problem
from microbox.channel.wire import WireError, to_wire
from microbox.runtime.processes.validation import from_child


def test_a_good_message_becomes_its_dataclass() -> None:
    message = Finished({"flows": 3, "top": ["a", 1.5, None]}, 3, 0, "nf.jsonl")
    assert from_child(to_wire(message)) == message


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (None, "a message is a map"),
        ({"kind": "load"}, "no child sends a 'load'"),
        ({"kind": "ready", "x": 1}, "Ready.x: Unexpected keyword argument"),
        ({"kind": "problem", "severity": 1, "error": "e"}, "Problem.severity: .* valid string"),
        ({"kind": "problem", "severity": "error"}, "Problem.error: Field required"),
        (
            {"kind": "finished", "summary": {"a": b"x"}, "records": 1, "records_lost": 0,
             "log_file": ""},
            "Finished.summary.a: .* JSON",
        ),
    ],
)  # fmt: skip
def test_each_fault_is_named(wire: object, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        from_child(wire)


def test_nested_fields_are_checked_too() -> None:
    wire = to_wire(Manifest("A", "a.py", "", [], [], [], [], [], False))
    wire["handlers"] = [{"handler": "h", "types": ["packet", 7]}]
    with pytest.raises(WireError, match=r"Manifest.handlers.0.types.1: .* string"):
        from_child(wire)


def test_a_problem_needs_only_severity_and_error() -> None:
    assert from_child({"kind": "problem", "severity": "error", "error": "e"}) == Problem(
        "error", "e"
    )
