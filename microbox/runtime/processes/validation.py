"""What children say, checked in full before the controller believes it."""

from __future__ import annotations

import functools
from typing import Any, cast

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError, create_model

from microbox.channel.messages import (
    Accused,
    Area,
    Confined,
    Done,
    Failed,
    Finished,
    FlowTraced,
    FoundFlows,
    Join,
    Leave,
    LogTaken,
    Manifest,
    Message,
    Met,
    Paused,
    Prepared,
    Problem,
    Ready,
    Resumed,
    WorkerAreas,
)
from microbox.channel.wire import WireError, split_kind

FROM_CHILDREN = (
    Accused,
    Confined,
    Manifest,
    Area,
    WorkerAreas,
    Ready,
    Failed,
    Problem,
    Finished,
    Join,
    Leave,
    LogTaken,
    FoundFlows,
    FlowTraced,
    Paused,
    Prepared,
    Met,
    Resumed,
    Done,
)


@functools.cache
def _checker(message_type: type) -> TypeAdapter[Any]:
    """The dataclass as a field of a model, so that the model's config holds for nested ones.

    Made when the first such message comes: most verbs hear few kinds."""
    model = create_model(
        f"Checked{message_type.__name__}",
        __config__=ConfigDict(extra="forbid"),
        message=(message_type, ...),
    )
    return TypeAdapter(model)


_PLAIN: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def from_child(wire: object) -> Message:
    """The message that a child sent, each field of its declared type.

    Raises WireError: unknown kind, one that only the controller sends, a field that is unknown,
    missing or of another type, a summary or parameters that JSON cannot say.
    """
    message_type, fields = split_kind(wire)
    if message_type not in FROM_CHILDREN:
        raise WireError(f"no child sends a '{message_type.kind}'")  # type: ignore[attr-defined]
    name = message_type.__name__
    message = cast(Message, _checked(_checker(message_type), {"message": fields}, name).message)
    if isinstance(message, Finished):
        _checked(_PLAIN, message.summary, f"{name}.summary")
    if isinstance(message, Join):
        _checked(_PLAIN, message.parameters, f"{name}.parameters")
    return message


def _checked(checker: TypeAdapter[Any], value: object, name: str) -> Any:
    try:
        return checker.validate_python(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        path = [name, *(str(part) for part in fault["loc"] if part != "message")]
        raise WireError(f"{'.'.join(path)}: {fault['msg']}") from error
