"""Puts drawings into the pages as they are, in place of images: so their text can be searched and
read aloud, and their colours follow the theme that the reader has chosen."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

FOLDER = "drawings"


def inline(app: Sphinx, document: nodes.document, _page: str) -> None:
    """Takes the place of paragraphs that are a drawing alone."""
    if app.builder.format != "html":
        return
    for image in list(document.findall(nodes.image)):
        path = Path(app.srcdir, image["uri"])
        if path.parent == Path(app.srcdir, FOLDER):
            image.parent.replace_self(nodes.raw("", framed(path), format="html"))


def framed(path: Path) -> str:
    """In a frame that scrolls where the window is narrow, also by the keyboard."""
    return f'<div class="drawing-frame" tabindex="0">\n{path.read_text()}</div>\n'


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-resolved", inline)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
