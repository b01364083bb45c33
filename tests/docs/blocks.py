"""The code blocks of the documentation, and what comments in front of them say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "guide").glob("*.md"),
    ]
)
COMMENT = re.compile(r"<!--\s*([a-z ]+?)(?::\s*(.*?))?\s*-->", re.DOTALL)
WORDS = frozenset(
    {
        "exit status",
        "figures differ",
        "file",
        "fragment",
        "in a running chain",
        "part of",
        "until interrupted",
        "verbs",
    }
)
"""What a comment may begin with; CONTRIBUTING.md says what each means."""


@dataclass(frozen=True)
class Block:
    """A block as it stands in its page."""

    page: str
    line: int
    """Of its first line of text."""
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Those of a page, fenced and indented ones, each with the comments right in front of it."""
    marks: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        if token.type == "html_block":
            marks |= _marks(token.content)
            continue
        if token.type in {"fence", "code_block"} and not token.info.startswith("{"):
            assert token.map is not None
            line = token.map[0] + (2 if token.type == "fence" else 1)
            name = str(page.relative_to(ROOT))
            language = token.info.split(maxsplit=1)[0] if token.info else "text"
            yield Block(name, line, language, token.content, marks)
        marks = {}


def _marks(comments: str) -> dict[str, str]:
    found = {name: text or "" for name, text in COMMENT.findall(comments)}
    return {name: text for name, text in found.items() if name in WORDS}
