"""`--set KEY=VALUE` of the command line: a setting in place of what the chain file says.

The key is a path with dots, as errors spell it: `stack.force.flows`, `logs.utc`. An NF goes by its
name: `chain.port_scan.threshold`; an entry of another list by its number. Names of events have dots
themselves, so of the names that are there the longest is meant.
"""

from __future__ import annotations

from typing import Any

from microbox.chain.document import Document, Location, value_of
from microbox.chain.entries import name_of_entry
from microbox.chain.errors import ChainErrors, Position, describe_value, did_you_mean, one_of
from microbox.chain.model import EventSettings
from microbox.chain.short_forms import nf_entries

OPTION = "--set"
_CHAIN: Location = ("chain",)
_INCLUDE = "include"


class _Nowhere(Exception):
    """The path leads nowhere: message and hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def assign(written: str, value: dict[str, Any], document: Document) -> None:
    """Puts the setting into the file's value, in which short forms are written out; what is wrong
    with it then is said of the option. Where it leads nowhere, the document gets an error."""
    key, equals, text = written.partition("=")
    position = Position(file=f"{OPTION} {key}")
    if not (equals and all(key.split("."))):
        message = f"'{written}' says no value of a key; expected KEY=VALUE"
        document.complain(Position(file=OPTION), message, "for example stack.tcp_timeout=5m")
        return
    try:
        meant = value_of(text)
    except ChainErrors as errors:
        document.complain(position, f"the value is no YAML: {errors.errors[0].message}")
        return
    try:
        _assign(key, meant, value, document)
    except _Nowhere as error:
        document.complain(position, str(error), error.hint)


def _assign(key: str, meant: Any, value: dict[str, Any], document: Document) -> None:
    if key.partition(".")[0] == _INCLUDE:  # it has been read by now
        raise _Nowhere("no option includes files; expected `include` in the chain file")
    position = Position(file=f"{OPTION} {key}")
    container: Any = value
    location: Location = ()
    path = key
    while True:
        step, path = _first_step(path, container, location)
        location = (*location, *step)
        for part in step[:-1]:
            container = container[part]
        if not path:
            container[step[-1]] = meant
            document.place(location, position)
            return
        if isinstance(container, dict) and container.get(step[-1]) is None:
            _make_section(container, location, position, document)
        container = container[step[-1]]


def _make_section(
    container: dict[str, Any], location: Location, position: Position, document: Document
) -> None:
    """Makes the mapping that the rest of the path leads into, where the file has nothing."""
    if location == _CHAIN:
        raise _Nowhere("the file has no `chain`, so no NF to set anything of")
    container[str(location[-1])] = {}
    document.place(location, position)


def _first_step(path: str, container: Any, location: Location) -> tuple[Location, str]:
    """What the path begins with, as keys from `container` on, and the rest of it."""
    if location == _CHAIN:
        return _nf_step(path, container)
    if isinstance(container, list):
        return _list_step(path, container)
    if not isinstance(container, dict):
        raise _Nowhere(f"there is {describe_value(container)}, which has no '{path}' in it")
    name = _longest(path, container) or _new_name(path, location)
    return (name,), path[len(name) + 1 :]


def _nf_step(path: str, entries: Any) -> tuple[Location, str]:
    places = {
        name_of_entry(entry): location
        for entry, location, _ in nf_entries(entries)
        if isinstance(entry, dict) and isinstance(entry.get("nf"), str)
    }
    name = _longest(path, places)
    if name:
        return places[name][1:], path[len(name) + 1 :]
    wanted = path.partition(".")[0]
    expected = one_of(places) or "an NF that the file names"
    raise _Nowhere(
        f"no NF of the chain is called '{wanted}'; expected {expected}",
        did_you_mean(wanted, places),
    )


def _list_step(path: str, container: list[Any]) -> tuple[Location, str]:
    number, _, rest = path.partition(".")
    if number.isdecimal() and int(number) < len(container):
        return (int(number),), rest
    raise _Nowhere(
        f"there is a list of {len(container)}, which has no '{number}' in it; expected a number "
        "from 0 on, or the whole list as the value"
    )


def _longest(path: str, names: Any) -> str:
    """The longest of the names that the path begins with; "" where there is none."""
    found = [one for one in names if path == one or path.startswith(f"{one}.")]
    return max(found, key=len, default="")


def _new_name(path: str, location: Location) -> str:
    """What the path begins with, where nothing is there yet. The name of an event has dots."""
    if location != ("events",):
        return path.partition(".")[0]
    front, _, key = path.rpartition(".")
    if front.endswith(".counters"):
        return front.removesuffix(".counters")
    return front if front and key in EventSettings.model_fields else path
