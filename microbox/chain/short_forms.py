"""What a chain file may say in short, written out in full: `- flow_log` is `{nf: flow_log}`.

An error then names the entry and its key, not a union of what might have stood there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

from microbox.chain.document import Location
from microbox.chain.model import PARALLEL_ENTRY, kind_of_entry

# YAML 1.1 reads `off` as false, 1.2 as a text.
SWITCHED: Mapping[str | bool, Any] = {
    "on": {"enabled": True},
    "off": {"enabled": False},
    True: {"enabled": True},
    False: {"enabled": False},
}


def write_out(value: dict[str, Any]) -> None:
    """Writes out, in place, what a file's value says in short. What is in full already stays."""
    _write_out(value, "sandbox", SWITCHED)
    _write_out(value, "on_worker_failure", {"end": None, "restart": {}})
    events = value.get("events")
    if isinstance(events, dict):
        value["events"] = {
            name: {"when": entry} if isinstance(entry, str | bool) else entry
            for name, entry in events.items()
        }
    entries = value.get("chain")
    if not isinstance(entries, list):
        return
    value["chain"] = [_as_mapping(entry) for entry in entries]
    for entry in value["chain"]:
        if kind_of_entry(entry) == PARALLEL_ENTRY and isinstance(entry["parallel"], list):
            entry["parallel"] = [_as_mapping(one) for one in entry["parallel"]]


def nf_entries(entries: object) -> Iterator[tuple[Any, Location, int | None]]:
    """The NFs' entries in `chain`, where they are, and the number of the `parallel` that they stand
    in."""
    if not isinstance(entries, list):
        return
    for index, entry in enumerate(entries):
        if kind_of_entry(entry) != PARALLEL_ENTRY:
            yield entry, ("chain", index), None
        elif isinstance(entry["parallel"], list):
            for number, one in enumerate(entry["parallel"]):
                yield one, ("chain", index, "parallel", number), index


def _as_mapping(entry: Any) -> Any:
    if isinstance(entry, dict):
        _write_out(entry, "sandbox", SWITCHED)
        _write_out(entry, "restart", {True: {}, False: None})
    return {"nf": entry} if isinstance(entry, str) else entry


def _write_out(section: dict[str, Any], key: str, words: Mapping[str | bool, Any]) -> None:
    """Puts what one of the words means in its place."""
    written = section.get(key)
    if isinstance(written, str | bool) and written in words:
        section[key] = copy(words[written])
