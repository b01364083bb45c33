"""Event types that the NFs of a chain declare, added to the built-in ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from microbox.chain.errors import ChainError
from microbox.chain.model import Chain
from microbox.chain.modules import module_types
from microbox.channel.messages import Manifest, TypeDeclaration
from microbox.events.catalog import Catalog, DeclarationError


def user_catalog(
    chain: Chain, manifests: Sequence[Manifest], catalog: Catalog
) -> tuple[Catalog, list[TypeDeclaration], list[ChainError]]:
    """The catalog with all types that the chain's modules and NFs declare, those types in the order
    of their numbers, and what is wrong with the rest. Two may declare the same type with the same
    fields: so an NF says what it reads."""
    declarations = module_types(chain)
    errors: list[ChainError] = []
    extended = catalog.with_user_types(declarations)
    for nf, manifest in zip(chain.nfs, manifests, strict=True):
        for declared in manifest.declares:
            declaration = replace(declared, producer="user")  # whatever its process says
            try:
                extended = catalog.with_user_types([*declarations, declaration])
            except DeclarationError as error:
                message = f"{nf.name} ({manifest.class_name}) declares: {error}"
                errors.append(ChainError(chain.file, *nf.position, message))
                continue
            if len(extended.types) > len(catalog.types) + len(declarations):
                declarations.append(declaration)
    return extended if not errors else catalog.with_user_types(declarations), declarations, errors
