"""What a chain file that was changed says otherwise than before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from microbox.chain.document import Location
from microbox.chain.entries import name_of_entry
from microbox.chain.errors import NOWHERE, Position
from microbox.chain.model import Chain, ChainNF
from microbox.chain.short_forms import nf_entries

SECTIONS = ("stack", "log", "logs", "events")
"""Keys whose values are compared one by one; those of all others are compared as a whole."""

LIVE = ("restart", "catch_up", "deadline")
"""Keys of an entry that only the controller looks at."""

AT_START = ("on_failure", "on_lag", "shadow", "after", "instances", "spread_by", "parallel")
"""Keys of an entry by which the plan places the NF among the others. All else, parameters
included, is told to a process when it starts."""

AS_BY_DEFAULT = "its default"
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One of them, and what may be done about it."""

    action: str  # "reload" | "attach" | "detach" | "set" | "refused"
    subject: str  # an NF, or a key with dots
    what: str  # for people
    position: Position = NOWHERE  # in the file as it is now
    reason: str = ""  # why it is refused

    def refused(self, reason: str) -> Difference:
        """The same, which cannot be done while the chain runs."""
        return replace(self, action="refused", reason=reason)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the file says of one NF."""

    nf: ChainNF  # the first of its instances
    settings: Mapping[str, Any]  # all keys, defaults filled in


@dataclass(frozen=True, slots=True)
class Said:
    """What a file says: what is of the chain as a whole, and of each NF by name."""

    settings: Mapping[Location, Any]
    entries: Mapping[str, Entry]


def said_by(chain: Chain) -> Said:
    """The file that the chain was read from."""
    own = {key: value for key, value in chain.effective.items() if key not in ("chain", "sandbox")}
    return Said(dict(_settings(own, ())), _entries(chain))


def _settings(section: Mapping[str, Any], above: Location) -> Iterator[tuple[Location, Any]]:
    for key, value in section.items():
        here = (*above, key)
        if isinstance(value, Mapping) and here[0] in SECTIONS:
            yield from _settings(value, here)
        else:
            yield here, value


def _entries(chain: Chain) -> dict[str, Entry]:
    nfs = {nf.entry: nf for nf in chain.nfs if nf.is_first}
    found = list(nf_entries(chain.effective.get("chain")))
    beside: dict[int | None, list[str]] = {}
    for entry, _, group in found:
        beside.setdefault(group, []).append(name_of_entry(entry))
    return {
        name: Entry(nfs[name], {**entry, **_whole(nfs[name]), "parallel": _others(group, beside)})
        for entry, _, group in found
        for name in [name_of_entry(entry)]
    }


def _whole(nf: ChainNF) -> dict[str, Any]:
    """What of an entry depends on the rest of the file: where paths lead, whom it may trust."""
    return {"nf": str(nf.source), "sandbox": nf.sandbox}


def _others(group: int | None, beside: Mapping[int | None, list[str]]) -> list[str]:
    return [] if group is None else sorted(beside[group])


def of_settings(old: Said, new: Said, chain: Chain) -> list[Difference]:
    """What is otherwise of the chain as a whole, which is told to the worker when it starts."""
    keys = dict.fromkeys([*old.settings, *new.settings])
    return [
        Difference(
            "refused",
            ".".join(map(str, key)),
            _change(old.settings, new.settings, key),
            chain.key_position(key),
            "needs a restart",
        )
        for key in keys
        if old.settings.get(key, _MISSING) != new.settings.get(key, _MISSING)
    ]


def of_nf(old: Entry, new: Entry, *, file_changed: bool) -> Difference | None:
    """What is otherwise of an NF that is in both; None: nothing."""
    keys = dict.fromkeys([*old.settings, *new.settings])
    changed = [
        key for key in keys if old.settings.get(key, _MISSING) != new.settings.get(key, _MISSING)
    ]
    words = [f"{key}: {_change(old.settings, new.settings, key)}" for key in changed]
    if file_changed:
        words.append("its file has changed")
    if not words:
        return None
    is_live = not file_changed and all(key in LIVE for key in changed)
    found = Difference(
        "set" if is_live else "reload", new.nf.entry, "; ".join(words), new.nf.position
    )
    fixed = [key for key in changed if key in AT_START]
    return found.refused(_why_fixed(fixed, new)) if fixed else found


def _why_fixed(keys: list[str], new: Entry) -> str:
    if keys == ["shadow"] and not new.settings["shadow"]:
        return f"expected: microbox promote {new.nf.entry}"
    return f"{', '.join(f'`{key}`' for key in keys)} needs a restart"


def _change(old: Mapping[Any, Any], new: Mapping[Any, Any], key: Any) -> str:
    return f"{_text(old.get(key, _MISSING))} → {_text(new.get(key, _MISSING))}"


def _text(value: object) -> str:
    if value is _MISSING or value is None:
        return AS_BY_DEFAULT
    return str(value).lower() if isinstance(value, bool) else str(value)
