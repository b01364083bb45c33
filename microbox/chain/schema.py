"""The JSON Schema of chain files, so that editors complete them: drawn from the pydantic models.

What a schema cannot say (which files are there, what an NF's parameters are, names that must
differ) is left to `microbox check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from microbox.chain.model import ChainFile
from microbox.chain.units import format_duration, format_exact_size
from microbox.chain.written_forms import DURATION_FORM, SIZE_FORM

FROM_ENVIRONMENT = "FromEnvironment"
_TAKES_NO_REFERENCE = ("integer", "number", "boolean")


class _Generator(GenerateJsonSchema):
    """Without the titles that pydantic makes of names: they say nothing that the names do not."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (the library's)
        return False


def chain_schema() -> JsonSchemaValue:
    """The schema, as a document of its own (draft 2020-12)."""
    schema = ChainFile.model_json_schema(schema_generator=_Generator)
    for part in _parts(schema):
        part.pop("title", None)
        _write_default(part)
    for part in list(_parts(schema)):
        _take_from_environment(part)
    schema["$defs"][FROM_ENVIRONMENT] = {
        "description": "what the environment has under a name: ${NAME}, ${NAME:-DEFAULT}",
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A chain of microbox",
        **schema,
    }


def _write_default(part: dict[str, Any]) -> None:
    """Durations and sizes as people write them. What is a default of a whole section stands with
    the section's own keys."""
    default = part.get("default")
    if isinstance(default, dict):
        del part["default"]
    elif DURATION_FORM.items() <= part.items() and isinstance(default, int):
        part["default"] = format_duration(default)
    elif SIZE_FORM.items() <= part.items() and isinstance(default, int):
        part["default"] = format_exact_size(default)


def _take_from_environment(part: dict[str, Any]) -> None:
    """What is no text, or one of a certain form, may be a text that names a variable."""
    form = {key: part[key] for key in part if key not in ("description", "default")}
    is_form = "enum" in form or "const" in form or "pattern" in form
    if is_form or form.get("type") in _TAKES_NO_REFERENCE:
        for key in form:
            del part[key]
        part["anyOf"] = [form, {"$ref": f"#/$defs/{FROM_ENVIRONMENT}"}]


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and all schemas in it."""
    if isinstance(schema, list):
        for one in schema:
            yield from _parts(one)
    if not isinstance(schema, dict):
        return
    yield schema
    for key, inner in schema.items():
        if key in ("properties", "$defs"):
            yield from _parts(list(inner.values()))
        elif key not in ("default", "enum", "const"):
            yield from _parts(inner)
