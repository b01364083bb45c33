"""Writes the page of a chain file's keys, from the models that check it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from microbox.chain.model import (
    ChainFile,
    EventSettings,
    LogSettings,
    LogsSettings,
    NetworkFunctionEntry,
    ParallelEntry,
    SandboxSettings,
)
from microbox.chain.schema import chain_schema
from microbox.chain.stack_settings import (
    ForceSettings,
    HostSettings,
    StackSettings,
    SuspiciousSettings,
)
from microbox.chain.supervision import RestartSettings

SECTIONS: dict[str, type[BaseModel]] = {
    "The file": ChainFile,
    "An NF in `chain`": NetworkFunctionEntry,
    "NFs beside each other": ParallelEntry,
    "`restart` and `on_worker_failure`": RestartSettings,
    "`sandbox`": SandboxSettings,
    "An entry of `events`": EventSettings,
    "`log`": LogSettings,
    "`logs`": LogsSettings,
    "`stack`": StackSettings,
    "An entry of `stack.hosts`": HostSettings,
    "`stack.force`": ForceSettings,
    "`stack.suspicious`": SuspiciousSettings,
}


def chain() -> Iterator[str]:
    """The page."""
    yield from ("# Keys of a chain file", "")
    yield "All keys of a chain file, as `microbox check` and editors know them (`microbox schema`)."
    yield from ("[Chains](../guide/chains.md) explains them.", "")
    schemas = chain_schema()
    for title, model in SECTIONS.items():
        schema = schemas if model is ChainFile else schemas["$defs"][model.__name__]
        yield from (f"## {title}", "", *_table(model, schema["properties"]))


def _table(model: type[BaseModel], properties: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| key | what it is | default |", "| --- | --- | --- |")
    for name, field in model.model_fields.items():
        what = (field.description or "").replace("|", "\\|")
        yield f"| `{name}` | {what} | {_default(field, properties[name])} |"
    yield ""


def _default(field: FieldInfo, schema: Mapping[str, Any]) -> str:
    """As the schema has it: durations and sizes with their units."""
    if field.is_required():
        return "must be given"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None or isinstance(default, BaseModel) or default in ([], {}, ""):
        return ""
    written = schema.get("default", default)
    return f"`{str(written).lower() if isinstance(written, bool) else written}`"
