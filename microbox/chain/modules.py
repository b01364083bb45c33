"""Users' modules of the stack (`stack.modules`): what each is, and the types it publishes.

A shared object is opened in a process of its own here, since opening it runs its code; in the
worker, later, it is a part of the stack.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, ValidationError

from microbox.chain.errors import ChainError, ChainErrors
from microbox.chain.model import Chain, ChainModule
from microbox.channel.messages import TypeDeclaration
from microbox.events.catalog import Catalog, DeclarationError, built_in
from microbox.ffi.layout import PAYLOAD_SIZE, payload_layout

DESCRIBE = "microbox.ffi.describe_module"
SECONDS = 30.0


class _Type(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    sentence: str
    fields: list[tuple[str, str]]


class _Description(BaseModel):
    """What the process printed."""

    model_config = ConfigDict(extra="forbid")

    error: str = ""
    name: str = ""
    sentence: str = ""
    transport: int = 0
    needs: int = 0
    flow_state_size: int = 0
    types: list[_Type] = []


class _NotDescribed(Exception):
    pass


def with_modules(chain: Chain) -> Chain:
    """The chain with its modules described. Raises ChainErrors with all that is wrong with them."""
    described: list[ChainModule] = []
    errors: list[ChainError] = []
    for module in chain.modules:
        try:
            one = _described(module)
            _check_types([*described, one])
        except (_NotDescribed, DeclarationError) as error:
            message = f"module '{module.source}' cannot be used: {error}"
            errors.append(ChainError.at(chain.file, module.position, message))
        else:
            described.append(one)
    if errors:
        raise ChainErrors(errors)
    return replace(chain, modules=tuple(described))


def module_types(chain: Chain) -> list[TypeDeclaration]:
    """All types that the chain's modules publish, in the order of their numbers."""
    return [one for module in chain.modules for one in module.types]


def _described(module: ChainModule) -> ChainModule:
    said = _ask(module)
    if said.error:
        raise _NotDescribed(said.error)
    return replace(
        module,
        name=said.name,
        doc=said.sentence,
        needs=said.needs,
        flow_state_size=said.flow_state_size,
        types=tuple(
            TypeDeclaration(one.name, dict(one.fields), one.sentence, f"module_{said.name}")
            for one in said.types
        ),
    )


def _ask(module: ChainModule) -> _Description:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", DESCRIBE, str(module.source.absolute())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _NotDescribed(f"it was not opened within {SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise _NotDescribed(f"opening it ended its process with {_ending(done.returncode)}")
    try:
        return _Description.model_validate_json(done.stdout)
    except ValidationError:
        raise _NotDescribed("opening it printed what is no description") from None


def _ending(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _check_types(modules: list[ChainModule]) -> None:
    """Raises DeclarationError where types clash, or a payload does not fit into an entry."""
    types = [one for module in modules for one in module.types]
    catalog: Catalog = built_in().with_user_types(types)
    for one in types:
        size = payload_layout(catalog.by_name[one.name]).size
        if size > PAYLOAD_SIZE:
            raise DeclarationError(
                f"the payload of '{one.name}' is {size} bytes long; expected at most {PAYLOAD_SIZE}"
            )
