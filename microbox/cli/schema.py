"""`microbox schema`: what editors complete chain files by, what lines of logs and messages are."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter


def schema(
    nf: str = "",
    /,
    *,
    eve: Annotated[bool, Parameter(negative=())] = False,
    messages: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Print the JSON Schema of chain files, of an NF's log, or of what runs say.

    For example: microbox schema > chain.schema.json, and as a chain's first line
    # yaml-language-server: $schema=chain.schema.json

    Parameters
    ----------
    nf
        An NF whose log is described: a built-in one, or the path of a file.
    eve
        Describe the log as `logs: {format: eve}` writes it.
    messages
        Describe a message as `microbox run --log-format json` writes it.
    """
    from microbox.cli.terminal import print_json

    if messages:
        from microbox.cli.log_format import message_schema

        print_json(message_schema())
        return 0

    if nf:
        return _print_log_schema(nf, "eve" if eve else "json")
    from microbox.chain.schema import chain_schema

    print_json(chain_schema())
    return 0


def _print_log_schema(name: str, form: str) -> int:
    from microbox.chain.describe import NotDescribed, describe_all
    from microbox.chain.errors import ChainError
    from microbox.cli.complaints import complain
    from microbox.cli.main import FINE, WRONG
    from microbox.cli.nfs import wanted_nfs
    from microbox.cli.terminal import print_json
    from microbox.nf.record_schema import log_schema
    from microbox.runtime.processes.validation import from_child

    (nf,) = wanted_nfs(name)
    (answer,) = describe_all([nf], decode=from_child)
    if isinstance(answer, NotDescribed):
        message = f"'{nf.name}' cannot be loaded: {answer.error}"
        source = str(nf.source)
        complain([ChainError(source, answer.line, 1, message, answer.hint, answer.traceback)])
        return WRONG
    print_json(log_schema(nf.name, answer.records, form))
    return FINE
