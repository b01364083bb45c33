"""What may be asked of a run on its control socket: one msgpack map, and nothing else.

Whoever sends something else is told what is wrong with it. Nothing of a request takes effect before
all of it was checked.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgpack
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from microbox.runtime.control.control_socket import VERSION

SIZE_LIMIT = 4096
"""Bytes of a request."""

ABOUT_RUN = Literal["status", "events", "stop"]
ABOUT_NF = Literal["detach", "reload", "promote"]
ABOUT_FLOW = Literal["why", "trace"]
ABOUT_FILE = Literal["reload_chain"]
NAMED = {"nf": "an NF", "flow": "a flow", "file": "the chain file"}
EXPECTED = {"nf": "its name", "flow": "its name", "file": "what becomes of it"}


class RequestError(Exception):
    """It is no request; says why."""


class Request(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Annotated[int, Field(ge=VERSION, le=VERSION)]  # Literal[1] takes 1.0 and true
    verb: Literal[ABOUT_RUN, ABOUT_NF, ABOUT_FLOW, ABOUT_FILE]
    nf: str = ""
    flow: str = ""
    file: Literal["", "compare", "take", "take_part"] = ""

    @property
    def about(self) -> str:
        """The NF, the flow, or what becomes of the chain file; "": the run."""
        return self.nf or self.flow or self.file

    @model_validator(mode="after")
    def _is_about_what_it_names(self) -> Request:
        """Who asks to stop an NF must not stop the run."""
        for key, verbs in (("nf", ABOUT_NF), ("flow", ABOUT_FLOW), ("file", ABOUT_FILE)):
            is_about_it = self.verb in get_args(verbs)
            if is_about_it and not getattr(self, key):
                raise ValueError(
                    f"'{self.verb}' is about {NAMED[key]}; expected {EXPECTED[key]} in '{key}'"
                )
            if not is_about_it and getattr(self, key):
                raise ValueError(f"'{self.verb}' is not about {NAMED[key]}; expected no '{key}'")
        return self


def parse(payload: bytes) -> Request:
    """The request that these bytes are. Raises RequestError."""
    if len(payload) > SIZE_LIMIT:
        raise RequestError(f"a request has at most {SIZE_LIMIT} bytes, not {len(payload)}")
    try:
        wire = msgpack.unpackb(
            payload, strict_map_key=True, max_ext_len=0, object_pairs_hook=_without_repeats
        )
        return Request.model_validate(wire)
    except ValidationError as error:
        raise RequestError(_in_words(error)) from None
    except (ValueError, RecursionError, msgpack.UnpackException):
        raise RequestError("a request is one msgpack map, with each key once") from None


def _without_repeats(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Of two values for a key, the sender may mean either."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _in_words(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))
    said = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"]
    return f"{place}: {said}" if place else said
