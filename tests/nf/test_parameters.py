"""Parameters are of the type that is written, or refused with all that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from microbox import NetworkFunction, parameter
from microbox.nf.errors import DeclarationError, DefinitionError
from microbox.nf.load import make_instance
from microbox.nf.parameters import check, coerce, declared_by


class Detector(NetworkFunction):
    threshold: int = parameter(20, "ports that one source may try")
    interval: float = 10
    rules: Path
    names: list[str] = ["a"]  # noqa: RUF012 (a parameter's default is copied)
    limit: int | None = None
    strict: bool = False
    kind: ClassVar[str] = "no parameter"
    _hidden: dict[str, int]


def test_parameters_are_what_the_class_annotates() -> None:
    declared = {one.name: one for one in declared_by(Detector)}
    assert list(declared) == ["threshold", "interval", "rules", "names", "limit", "strict"]
    assert (declared["threshold"].default, declared["threshold"].doc) == (
        20,
        "ports that one source may try",
    )
    assert declared["limit"].annotation == "int | None"
    assert declared["rules"].required


def test_a_parameter_that_must_be_set_may_be_described() -> None:
    class Searcher(NetworkFunction):
        words: list[str] = parameter(doc="what to look for")

    (words,) = declared_by(Searcher)
    assert (words.required, words.default, words.doc) == (True, None, "what to look for")
    with pytest.raises(DeclarationError, match=r"parameter 'words' \(list\[str\]\) is missing"):
        make_instance(Searcher, "search", {})
    assert make_instance(Searcher, "search", {"words": ["a"]}).words == ["a"]  # type: ignore[attr-defined]


def test_values_are_set_before_the_nf_begins() -> None:
    nf = make_instance(Detector, "scan", {"rules": "web.rules", "threshold": 5}, "/etc/chains")
    assert nf.name == "scan"
    assert {name: getattr(nf, name) for name in ("threshold", "interval", "rules", "names")} == {
        "threshold": 5,
        "interval": 10.0,
        "rules": Path("/etc/chains/web.rules"),
        "names": ["a"],
    }
    assert nf.limit is None  # type: ignore[attr-defined]


def test_an_instance_has_its_own_lists() -> None:
    first, second = (make_instance(Detector, name, {"rules": "/r"}) for name in "ab")
    first.names.append("b")  # type: ignore[attr-defined]
    assert second.names == ["a"]  # type: ignore[attr-defined]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(DeclarationError) as error:
        make_instance(Detector, "scan", {"treshold": 5, "interval": "10", "strict": 1})
    assert str(error.value) == (
        "unknown parameter 'treshold'; did you mean 'threshold'?; "
        "parameter 'interval': expected float, got '10' (str); "
        "parameter 'rules' (Path) is missing; "
        "parameter 'strict': expected bool, got 1 (int)"
    )


def test_an_unknown_name_far_from_all_is_answered_with_those_there_are() -> None:
    wrong = check(declared_by(Detector), {"rules": "x", "xyzzy": 1})
    assert [str(one) for one in wrong] == [
        "unknown parameter 'xyzzy'; it has threshold, interval, rules, names, limit, strict"
    ]
    assert check([], {"a": 1})[0].hint == "this NF has no parameters"


@pytest.mark.parametrize(
    ("annotation", "value", "result"),
    [
        ("int", 3, 3),
        ("float", 3, 3.0),
        ("str", "x", "x"),
        ("bool", True, True),
        ("Path", "a/b", Path("a/b")),
        ("list[int]", [1, 2], [1, 2]),
        ("list[Path]", ["a"], [Path("a")]),
        ("int | None", None, None),
        ("str | int", 5, 5),
        ("list[str] | None", None, None),
    ],
)
def test_what_fits_is_taken(annotation: str, value: object, result: object) -> None:
    taken = coerce(annotation, value)
    assert taken == result
    assert type(taken) is type(result)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("int", True),
        ("int", 1.0),
        ("int", "1"),
        ("float", True),
        ("str", 1),
        ("bool", 1),
        ("list[int]", 1),
        ("list[int]", ["1"]),
        ("int", None),
        ("Path", 7),
    ],
)
def test_what_does_not_fit_is_not_bent(annotation: str, value: object) -> None:
    with pytest.raises(ValueError, match="^expected "):
        coerce(annotation, value)


def test_a_type_that_no_file_can_give_is_refused_with_the_class() -> None:
    with pytest.raises(DefinitionError) as error:
        type("Odd", (NetworkFunction,), {"__annotations__": {"table": dict[str, int]}})
    assert str(error.value).startswith(
        "Odd.table: a parameter cannot be of type 'dict[str, int]': expected int, float, str"
    )


def test_a_default_of_another_type_is_refused_with_the_class() -> None:
    members: dict[str, Any] = {"__annotations__": {"limit": "int"}, "limit": "many"}
    with pytest.raises(DefinitionError) as error:
        type("Odd", (NetworkFunction,), members)
    assert str(error.value) == ("Odd.limit: the default is wrong: expected int, got 'many' (str)")
