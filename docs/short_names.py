"""Keeps short names and options in one piece: browsers break `--pace 1` behind its dashes."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx

LENGTH_MAX = 24
"""Characters that fit on a line wherever it is read, also in a column of a table."""


def mark(_app: Sphinx, document: nodes.document, _page: str) -> None:
    """Gives the class `short` to code within a sentence."""
    for name in document.findall(nodes.literal):
        if len(name.astext()) <= LENGTH_MAX:
            name["classes"].append("short")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-resolved", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
