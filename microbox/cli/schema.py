"""`microbox schema`: what editors need to complete chain files."""

from __future__ import annotations


def schema() -> int:
    """Print the JSON Schema of chain files, for editors that complete and check them.

    For example: microbox schema > chain.schema.json, and as a chain's first line
    # yaml-language-server: $schema=chain.schema.json
    """
    from microbox.chain.schema import chain_schema
    from microbox.cli.terminal import print_json

    print_json(chain_schema())
    return 0
