"""How values of a chain file are written, of which pydantic knows what they become: for the JSON
Schema, and for `check --dump`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from microbox.chain.sources import PARSERS_PACKAGE, PATH_SUFFIXES, built_in_names
from microbox.chain.units import BYTES, NANOSECONDS, format_duration, format_exact_size


@dataclass(frozen=True)
class AlsoWritten:
    """A value that may be written in short as well, as `form` says."""

    form: JsonSchemaValue

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [self.form, handler(schema)]}


class NamesNF:
    """A text that names an NF: a built-in one, or its file."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return _nf_name()


class AlsoNamesNF:
    """An NF's entry that may be its name alone."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [_nf_name(), handler(schema)]}


def _nf_name() -> JsonSchemaValue:
    """Names of the NFs that come with microbox, and anything that is a path."""
    suffixes = "|".join(map(re.escape, PATH_SUFFIXES))
    names = sorted({*built_in_names(), *built_in_names(PARSERS_PACKAGE)})
    return {"anyOf": [{"enum": names}, {"type": "string", "pattern": f"/|({suffixes})$"}]}


def _quantity(units: dict[str, int]) -> JsonSchemaValue:
    return {"type": "string", "pattern": rf"^[0-9]+(\.[0-9]+)? ?({'|'.join(units)})$"}


DURATION_FORM = _quantity(NANOSECONDS)
SIZE_FORM: JsonSchemaValue = {"anyOf": [_quantity(BYTES), {"type": "integer", "minimum": 1}]}

WRITTEN_AS_DURATION = (
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema(DURATION_FORM),
)
WRITTEN_AS_SIZE = (
    PlainSerializer(format_exact_size, when_used="json"),
    WithJsonSchema(SIZE_FORM),
)


def one_of_numbers(numbers: list[int]) -> Any:
    """A whole number that is one of these."""
    return WithJsonSchema({"enum": numbers})
