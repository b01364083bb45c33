"""The entries of `chain`: which file each means, how it is called, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from pydantic import ValidationError

from microbox.chain.document import Document, Location
from microbox.chain.errors import ChainError, Position, did_you_mean
from microbox.chain.model import (
    ENTRY_KEYS,
    ChainNF,
    NetworkFunctionEntry,
    SandboxSettings,
    instance_name,
)
from microbox.chain.named_files import missing_file
from microbox.chain.short_forms import nf_entries
from microbox.chain.sources import (
    PARSERS_PACKAGE,
    built_in_names,
    built_in_source,
    is_path,
    no_built_in,
    syntax_error_of,
)
from microbox.chain.supervision import supervision_of
from microbox.chain.validate import sound
from microbox.channel.messages import Sandbox
from microbox.nf.shared_object import is_c


class EntryLoader:
    """Makes NFs of the entries; adds to the document's errors what is wrong with the others."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._sandbox = SandboxSettings()  # of all NFs

    def load(self, value: dict[str, Any]) -> list[ChainNF]:
        """The sound NFs, in the order of the chain, each as many times as it has instances.
        `value`: the file's, with short forms written out."""
        self._sandbox = sound(SandboxSettings, value.get("sandbox"))
        nfs: list[ChainNF] = []
        names: dict[str, ChainNF] = {}
        for entry, location, group in nf_entries(value.get("chain")):
            if not isinstance(entry, dict) or not isinstance(entry.get("nf"), str):
                continue
            nf = self._nf(entry, location, group)
            if nf is None:
                continue
            settings = _spread_of(entry)
            instances = nf.instances(settings.instances, settings.spread_by)
            taken = [one for one in (nf, *instances) if one.name in names]
            if taken and not _has_wrong_name(entry):
                self._complain_of_name(taken[0], names[taken[0].name], location)
                continue
            if not _has_wrong_name(entry):
                names.update({one.name: nf for one in (nf, *instances)})
            nfs += instances
        return nfs

    def _nf(self, entry: dict[str, Any], location: Location, group: int | None) -> ChainNF | None:
        written = entry["nf"]
        here = (*location, "nf")
        position = self._document.value_position(here)
        source = self._source(written, here)
        if source is None or not (is_c(source) or self._is_python(source, position)):
            return None
        given = [key for key in entry if key not in ENTRY_KEYS]
        return ChainNF(
            name=name_of_entry(entry),
            source=source,
            parameters={key: entry[key] for key in given},
            on_error="skip" if entry.get("on_error") == "skip" else "stop",
            on_failure=_known(entry.get("on_failure"), ("open", "closed")),
            skips=entry.get("on_lag") == "skip",
            is_shadow=entry.get("shadow") is True,
            after=_names(entry.get("after")),
            group=group,
            sandbox=self._sandbox_of(entry, location),
            supervision=supervision_of(entry),
            written=written,
            position=position,
            key_positions={key: self._document.key_position((*location, key)) for key in entry},
            value_positions={key: self._document.value_position((*location, key)) for key in entry},
        )

    def _sandbox_of(self, entry: dict[str, Any], location: Location) -> Sandbox:
        """An entry's `sandbox`; for what that leaves out, the chain's."""
        own = sound(SandboxSettings, entry.get("sandbox")).model_dump(exclude_none=True)
        given = self._sandbox.model_dump(exclude_none=True) | own
        for name in ("files", "writes"):
            if name in given:
                here = (*location, "sandbox", name) if name in own else ("sandbox", name)
                given[name] = [self._document.pattern(here, one) for one in given[name]]
        return Sandbox(is_on=given.pop("enabled", True), **given)

    def _source(self, written: str, location: Location) -> Path | None:
        position = self._document.value_position(location)
        if is_path(written):
            source = self._document.path(location, written)
            if source.is_file():
                return source
            self._document.complain(position, *missing_file(source, "the file of an NF"))
            return None
        source_of_built_in = built_in_source(written) or built_in_source(written, PARSERS_PACKAGE)
        if source_of_built_in is not None:
            return source_of_built_in
        hint = did_you_mean(written, built_in_names())
        if self._document.path(location, f"{written}.py").is_file():
            hint = f"did you mean './{written}.py'?"
        self._document.complain(position, no_built_in(written), hint)
        return None

    def _is_python(self, source: Path, position: Position) -> bool:
        try:
            error = syntax_error_of(source)
        except OSError as failure:
            reason = (failure.strerror or str(failure)).lower()
            self._document.complain(position, f"'{source}' cannot be read: {reason}")
            return False
        if error is None:
            return True
        line = (error.text or "").rstrip()
        self._document.errors.append(
            ChainError(
                str(source),
                error.lineno or 1,
                error.offset or 1,
                f"this is not Python: {error.msg}",
                detail=line,
            )
        )
        return False

    def _complain_of_name(self, nf: ChainNF, first: ChainNF, location: Location) -> None:
        position = nf.value_positions.get("name") or self._document.value_position(location)
        self._document.complain(
            position,
            f"two NFs are called '{nf.name}', the first in {first.position.spelled}; "
            "expected a `name:` that tells them apart",
            f"for example {{nf: {nf.written}, name: {nf.name}_2}}",
        )


def name_of_entry(entry: dict[str, Any]) -> str:
    """The name that an entry gives, or that of its file."""
    name = entry.get("name")
    return name if _is_instance_name(name) else Path(entry["nf"]).stem


def _names(value: object) -> tuple[str, ...] | None:
    """A list of names; None where it is none, which is complained of."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return None
    return tuple(value)


def _has_wrong_name(entry: dict[str, Any]) -> bool:
    """True where the name was complained of already; the NF goes by its file's name meanwhile."""
    return entry.get("name") is not None and not _is_instance_name(entry["name"])


def _spread_of(entry: dict[str, Any]) -> NetworkFunctionEntry:
    """The entry with what it soundly says of instances, and nothing else."""
    given = {key: entry[key] for key in ("instances", "spread_by") if key in entry}
    try:
        return NetworkFunctionEntry.model_validate({"nf": entry["nf"] or "?", **given})
    except ValidationError:
        return NetworkFunctionEntry(nf="?")


def _is_instance_name(name: object) -> TypeGuard[str]:
    try:
        return isinstance(name, str) and bool(instance_name(name))
    except ValueError:
        return False


def _known(value: object, choices: tuple[str, ...]) -> str | None:
    return value if isinstance(value, str) and value in choices else None
