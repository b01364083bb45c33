"""The drawings of the documentation: each is in a page, and says names that there are."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from microbox.chain.sources import built_in_names
from microbox.cli.main import VERBS
from microbox.events.catalog import built_in
from tests.docs.blocks import PAGES, ROOT

FOLDER = ROOT / "docs" / "drawings"
DRAWINGS = {path.stem: path for path in sorted(FOLDER.glob("*.svg"))}
SVG = "{http://www.w3.org/2000/svg}"

NAMES = {
    "event": {one.name for one in built_in().types},
    "nf": {
        *built_in_names(),
        *(f"{path.stem}_parser" for path in ROOT.glob("microbox/parsers/*.py")),
    },
    "verb": {"microbox", *VERBS},
    "module": {one.producer.replace("_", ".", 1) for one in built_in().types},
    "source": {
        str(path.relative_to(ROOT / "microbox").with_suffix(""))
        for path in ROOT.glob("microbox/*/*.c")
    },
}
"""What a text in a drawing may be by its `data-is`; with `data-in` it stands in that file."""


def drawing(name: str) -> Element:
    """Fails where it is no well-formed XML."""
    return ElementTree.parse(DRAWINGS[name]).getroot()


def words_of(element: Element) -> list[str]:
    return "".join(element.itertext()).split()


@pytest.mark.parametrize("name", DRAWINGS)
class TestADrawing:
    def test_it_is_shown_by_a_page(self, name: str) -> None:
        shown = re.compile(rf"!\[[^]]+\]\((?:\.\./|docs/)?drawings/{name}\.svg\)")
        assert any(shown.search(page.read_text()) for page in PAGES)

    def test_it_says_in_words_what_it_shows(self, name: str) -> None:
        title, description = list(drawing(name))[:2]
        assert (title.tag, description.tag) == (f"{SVG}title", f"{SVG}desc")
        labels = f"{title.get('id')} {description.get('id')}"
        assert drawing(name).attrib.items() >= {("role", "img"), ("aria-labelledby", labels)}
        assert len(words_of(title)) > 1
        assert len(words_of(description)) > 30

    def test_its_names_are_names_of_something(self, name: str) -> None:
        named = [one for one in drawing(name).iter(f"{SVG}text") if one.get("class") == "code"]
        assert named
        for text in named:
            for word in words_of(text):
                assert is_a_name(word, text), f"{word}: {text.attrib}"


def is_a_name(word: str, text: Element) -> bool:
    if path := text.get("data-in"):
        return bool(re.search(rf"\b{re.escape(word)}\b", (ROOT / path).read_text()))
    return word in NAMES[text.get("data-is", "")]


def test_all_have_one_style() -> None:
    """Those of a page share its rules, whichever comes first."""
    styles = {drawing(name).findtext(f"{SVG}style") for name in DRAWINGS}
    assert len(styles) == 1


def test_no_two_use_an_identifier() -> None:
    """They may stand in one page."""
    found = [one.get("id") for name in DRAWINGS for one in drawing(name).iter() if one.get("id")]
    assert len(found) == len(set(found))


def test_what_refers_to_an_identifier_finds_it() -> None:
    for path in DRAWINGS.values():
        text = path.read_text()
        assert set(re.findall(r"url\(#([\w-]+)\)", text)) <= set(re.findall(r'id="([\w-]+)"', text))
