"""The settings in effect, as a chain file that says all of them: `microbox check --dump`.

Paths to read are absolute, so that it means the same wherever it lies. What a chain adds by itself
is left out: it is added again.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microbox.chain.document import Document, Location
from microbox.chain.entries import name_of_entry
from microbox.chain.model import STANDARD_INPUT, ChainFile, NetworkFunctionEntry
from microbox.chain.short_forms import nf_entries
from microbox.chain.sources import is_path
from microbox.nf.parameters import coerce, from_base

if TYPE_CHECKING:
    from microbox.chain.plan import Plan
    from microbox.channel.messages import Manifest

Written = Callable[[Location, str], str]

_WORDS = {"restart": False, "on_worker_failure": "end"}
"""What is said of these where they are None."""


def effective_settings(file: ChainFile, document: Document) -> dict[str, Any]:
    """All settings as a file would say them; what is written in `document` counts from there."""
    value: dict[str, Any] = _in_words(file.model_dump(mode="json", exclude={"include"}))
    if value["input"] == str(STANDARD_INPUT):
        del value["input"]  # only the command line can name it
    else:
        value["input"] = document.pattern(("input",), value["input"])
    _make_absolute(value["stack"], "modules", ("stack",), document.pattern)
    _make_sandbox_absolute(value, (), document.pattern)
    for entry, location, _ in nf_entries(value["chain"]):
        _complete(entry, location, document.pattern)
    return value


def dumped(plan: Plan) -> dict[str, Any]:
    """Those of a chain whose NFs are known, and with them which of their parameters are paths."""
    value = deepcopy(dict(plan.chain.effective))
    manifests = {nf.entry: nf.manifest for nf in plan.nfs}
    for entry, _, _ in nf_entries(value["chain"]):
        name = name_of_entry(entry)
        _make_parameters_absolute(entry, manifests[name], str(plan.chain.base_of(name)))
    return value


def as_yaml(value: Mapping[str, Any]) -> str:
    """The text of a chain file."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 1 << 16  # conditions are not folded
    text = io.StringIO()
    yaml.dump(dict(value), text)
    return text.getvalue()


def _in_words(value: Any) -> Any:
    """Of the keys of sections whose value is None: those without a word for it are left out, which
    means the same."""
    if isinstance(value, list):
        return [_in_words(one) for one in value]
    if not isinstance(value, dict):
        return value
    parameters = value.keys() - NetworkFunctionEntry.model_fields.keys() if "nf" in value else set()
    return {
        key: one if key in parameters else _in_words(_WORDS.get(key) if one is None else one)
        for key, one in value.items()
        if one is not None or key in parameters or key in _WORDS
    }


def _complete(entry: dict[str, Any], location: Location, written: Written) -> None:
    if is_path(entry["nf"]):
        _make_absolute(entry, "nf", location, written)
    _make_sandbox_absolute(entry, location, written)
    if not entry["sandbox"]:
        del entry["sandbox"]


def _make_sandbox_absolute(section: dict[str, Any], location: Location, written: Written) -> None:
    for key in ("files", "writes"):
        if key in section["sandbox"]:
            _make_absolute(section["sandbox"], key, (*location, "sandbox"), written)


def _make_absolute(section: dict[str, Any], key: str, location: Location, written: Written) -> None:
    """A path, or each of a list of them."""
    here = (*location, key)
    if isinstance(section[key], list):
        section[key] = [written((*here, index), one) for index, one in enumerate(section[key])]
    else:
        section[key] = written(here, section[key])


def _make_parameters_absolute(entry: dict[str, Any], manifest: Manifest, base: str) -> None:
    for one in manifest.parameters:
        if "Path" in one.annotation and one.name in entry:
            entry[one.name] = _as_text(from_base(base, coerce(one.annotation, entry[one.name])))


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return str(value.absolute()) if isinstance(value, Path) else value
