"""Confines this process for good, before a user's code is loaded into it.

The order matters: rules are made while all paths can still be reached, what a change of identity
would undo comes after it, and the filter of system calls is last, since it forbids all of this.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from microbox._core import lib
from microbox.channel.messages import Confined
from microbox.confine.domain import (
    Needs,
    Rule,
    make_missing,
    of_interpreter,
    of_network,
    of_source,
    to_read,
    to_write,
)
from microbox.confine.support import has_own_users, missing_parts

CAPABILITIES = {
    lib.MB_KEEP_READ_SEARCH: "dac_read_search",
    lib.MB_KEEP_OVERRIDE: "dac_override",
}


class ConfinementError(Exception):
    """The process cannot be confined: says what failed, and why."""


@dataclass(slots=True)
class _Identity:
    user: int
    capabilities: list[str] = field(default_factory=list)


def stay_free() -> Confined:
    """As `confine`, where the chain says `sandbox: off`."""
    return Confined(is_on=False, user=os.geteuid())


def confine(source: Path, needs: Needs, *, parent: int | None, makes_files: bool) -> Confined:
    """What is in force from now on. `parent`: with whom this process is to die, if with anybody.
    `makes_files`: the files to be written are made where they are missing. Raises ConfinementError.

    There must be one thread: what others do would not be confined.
    """
    missing = missing_parts()
    rules = _rules(source, needs, makes_files=makes_files)
    ruleset = make_ruleset(rules, network=needs.network)
    identity = _take_identity(rules, has_domain=ruleset is not None)
    if parent is not None:
        _demand(lib.mb_die_with_parent(parent), "to die with its parent")
    _demand(lib.mb_become_undumpable(), "being undumpable")
    _demand(lib.mb_renounce_privileges(), "no_new_privs")
    if ruleset is not None:
        _demand(lib.mb_landlock_enter(ruleset), "a Landlock domain")
    filters = bool(lib.mb_seccomp_is_supported())
    if filters:
        _demand(lib.mb_filter_calls(needs.network), "a filter of system calls")
    return Confined(
        is_on=True,
        landlock=lib.mb_landlock_version() if ruleset is not None else 0,
        seccomp=filters,
        user=identity.user,
        capabilities=identity.capabilities,
        missing=missing,
    )


def _demand(result: int, what: str) -> None:
    if result < 0:
        raise ConfinementError(f"{what} is refused: {os.strerror(-result)}")


def _rules(source: Path, needs: Needs, *, makes_files: bool) -> list[Rule]:
    if makes_files:
        try:
            make_missing(needs.writes)
        except OSError as error:
            raise ConfinementError(
                f"'{error.filename}', which it is to write, cannot be made: {error.strerror}"
            ) from None
    return [
        *of_interpreter(),
        *(of_network() if needs.network else ()),
        *of_source(source),
        *to_read(needs.files),
        *to_write(needs.writes),
    ]


def make_ruleset(rules: Iterable[Rule], *, network: bool) -> int | None:
    """The descriptor of a Landlock ruleset; None where the kernel has no Landlock. Raises
    ConfinementError."""
    if lib.mb_landlock_version() < lib.MB_LANDLOCK_FILES:
        return None
    ruleset: int = lib.mb_landlock_create(network)
    _demand(ruleset, "a Landlock ruleset")
    for rule in rules:
        result = lib.mb_landlock_allow(ruleset, os.fsencode(rule.path), rule.access)
        _demand(result, f"reading '{rule.path}'")
    return ruleset


def _take_identity(rules: Sequence[Rule], *, has_domain: bool) -> _Identity:
    """As root, a user of its own without capabilities, but for those that the allowed files need:
    the domain keeps them to these. Without a domain nothing is written by such a right."""
    if os.geteuid() != 0:
        _demand(lib.mb_keep_capabilities(lib.MB_KEEP_READ_SEARCH), "giving up capabilities")
        return _Identity(os.geteuid())
    user = lib.mb_own_user()
    if not has_own_users():
        _demand(lib.mb_keep_capabilities(lib.MB_KEEP_NONE), "giving up capabilities")
        return _Identity(os.geteuid())
    kept = _capabilities_for(rules, user)
    if not has_domain:
        kept &= lib.MB_KEEP_READ_SEARCH
    _demand(lib.mb_take_own_user(kept), "a user of its own")
    return _Identity(user, [name for bit, name in CAPABILITIES.items() if kept & bit])


def _capabilities_for(rules: Sequence[Rule], user: int) -> int:
    """What the user could not reach by itself, found out by being it for a moment."""
    searches = {rule.path: os.X_OK if Path(rule.path).is_dir() else 0 for rule in rules}
    os.setgroups([])
    os.setegid(user)
    os.seteuid(user)
    try:
        kept = lib.MB_KEEP_NONE
        for rule in rules:
            if not os.access(rule.path, os.R_OK | searches[rule.path], effective_ids=True):
                kept |= lib.MB_KEEP_READ_SEARCH
            if rule.access & lib.MB_FILE_WRITE and not os.access(
                rule.path, os.W_OK, effective_ids=True
            ):
                kept |= lib.MB_KEEP_OVERRIDE
        return int(kept)
    finally:
        os.seteuid(0)
        os.setegid(0)
