"""Event types that the NFs of a chain declare, added to the built-in ones."""

from __future__ import annotations

from collections.abc import Sequence

from microbox.chain.errors import ChainError
from microbox.chain.model import Chain
from microbox.channel.messages import Manifest, TypeDeclaration
from microbox.events.catalog import Catalog, DeclarationError


def user_catalog(
    chain: Chain, manifests: Sequence[Manifest], catalog: Catalog
) -> tuple[Catalog, list[TypeDeclaration], list[ChainError]]:
    """The catalog with all types that NFs declare, those types in the order of their numbers, and
    what is wrong with the rest. Two NFs may declare the same type with the same fields."""
    declarations: list[TypeDeclaration] = []
    errors: list[ChainError] = []
    extended = catalog
    for nf, manifest in zip(chain.nfs, manifests, strict=True):
        for declaration in manifest.declares:
            try:
                extended = catalog.with_user_types([*declarations, declaration])
            except DeclarationError as error:
                message = f"{nf.name} ({manifest.class_name}) declares: {error}"
                errors.append(ChainError(chain.file, *nf.position, message))
                continue
            if len(extended.types) > len(catalog.types) + len(declarations):
                declarations.append(declaration)
    return extended if not errors else catalog.with_user_types(declarations), declarations, errors
