"""`${NAME}` in the values of a chain file: what the environment has under that name.

It is put in when YAML has been read, so that nothing in the environment can change what is a key,
a list or a mapping. Without quotes a value that is one `${NAME}` is read as YAML reads a word, so
that numbers are numbers; in quotes, and as a part of a text, it is text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from microbox.chain.document import Document, Location, value_of
from microbox.chain.errors import ChainErrors, did_you_mean

OPENING = "${"
# `$${` stands for the two characters `${`. A lone `$`, as of regular expressions, stays.
_REFERENCE = re.compile(
    r"\$(?P<escaped>\$\{)|\$\{(?:(?P<name>[A-Za-z_]\w*)(?P<default>:-[^}]*)?\})?", re.ASCII
)

_UNKNOWN = object()
_SIMILAR_FROM = 5  # characters; of shorter names anything is similar


def substitute(document: Document, environment: Mapping[str, str]) -> None:
    """Puts in what is named. The document gets an error for each name that is not set."""
    value = _Substitution(document, environment).of(document.value, ())
    document.value = None if value is _UNKNOWN else value


class _Substitution:
    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment

    def of(self, value: Any, location: Location) -> Any:
        if isinstance(value, dict):
            put_in = {key: self.of(one, (*location, key)) for key, one in value.items()}
            # As if it were not written, so that nothing is said of it a second time.
            return {key: one for key, one in put_in.items() if one is not _UNKNOWN}
        if isinstance(value, list):
            items = [self.of(one, (*location, index)) for index, one in enumerate(value)]
            return _UNKNOWN if _UNKNOWN in items else items
        if isinstance(value, str) and OPENING in value:
            return self._text(value, location)
        return value

    def _text(self, written: str, location: Location) -> Any:
        complaints = len(self._document.errors)
        places = self._document.character_positions(location, written)

        def replacement(found: re.Match[str]) -> str:
            if found["escaped"]:
                return OPENING
            if found["name"] is None:
                message = f"'{written[found.start() :]:.20}' names no variable; expected ${{NAME}}"
                self._document.complain(places[found.start()], message, "write $${ for ${")
                return ""
            default = found["default"]
            value = self._environment.get(found["name"])
            if value is None and default is None:
                message = f"the environment has no {found['name']}"
                known = self._environment if len(found["name"]) >= _SIMILAR_FROM else ()
                hint = did_you_mean(found["name"], known) or (
                    f"for a value without it: ${{{found['name']}:-VALUE}}"
                )
                self._document.complain(places[found.start()], message, hint)
                return ""
            # As in shells, a default is for a variable that is empty too.
            return value or (default or ":-").removeprefix(":-")

        text = _REFERENCE.sub(replacement, written)
        is_whole = (found := _REFERENCE.fullmatch(written)) is not None and bool(found["name"])
        is_plain = is_whole and not self._is_quoted(location)
        self._document.spans.pop(location, None)  # characters of it stand nowhere in the file
        if len(self._document.errors) > complaints:
            return _UNKNOWN
        return _word(text) if is_plain else text

    def _is_quoted(self, location: Location) -> bool:
        begin, _ = self._document.spans.get(location, (0, 0))
        return self._document.text[begin : begin + 1] in ('"', "'", "|", ">")


def _word(text: str) -> Any:
    """As YAML reads it, where that is one value; else the text."""
    try:
        value = value_of(text)
    except ChainErrors:
        return text
    return text if value is None or isinstance(value, dict | list) else value
