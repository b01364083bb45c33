"""The page of the reference about the command line, made of what the verbs say of themselves."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from microbox.cli.manual import EXIT_STATUSES, Setting, Verb, verbs

WIDTH = 80


def cli() -> Iterator[str]:
    """A section a verb."""
    yield from ("# Verbs and options", "")
    yield from (
        "Every verb with all that it takes; the same as manual pages: `microbox man run`.",
        "",
    )
    yield from ("[The guide](../guide/cli.md) shows them at work.", "")
    for verb in verbs():
        yield from section(verb)
    yield from ("## Exit statuses", "")
    for status, meaning in EXIT_STATUSES.items():
        yield from definition(f"`{status}`", meaning)


def section(verb: Verb) -> Iterator[str]:
    """Usage, what it does, its arguments and options."""
    yield from (f"## microbox {verb.name}", "", "```text", usage(verb), "```", "")
    for paragraph in (verb.summary, *verb.paragraphs):
        # A line of a shell or of YAML may begin as a heading does.
        yield from (re.sub(r"^#", r"\\#", paragraph, flags=re.MULTILINE), "")
    for argument in verb.arguments:
        yield from definition(f"`{argument.names[0]}`", argument.text)
    for option in verb.options:
        names = ", ".join(f"`{name}`" for name in option.names)
        value = f" `{option.value}`" if option.value else ""
        default = f" By default `{option.default}`." if option.default else ""
        yield from definition(names + value, option.text + default)


def usage(verb: Verb) -> str:
    """In lines of a width that pages have, the later ones indented."""
    options = (f"{one.names[-1]} {one.value}".strip() for one in verb.options)
    words = [
        *map(in_brackets, verb.options, options),
        *(in_brackets(one, one.names[0]) for one in verb.arguments),
    ]
    begin = f"microbox {verb.name} "
    # What belongs together stays so: a break is between words, not within one.
    joined = " ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)
    lines = textwrap.wrap(begin + joined, WIDTH, subsequent_indent=" " * len(begin))
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def in_brackets(setting: Setting, word: str) -> str:
    """As usages have what may be left out, and what may come again."""
    repeated = " ..." if setting.is_repeated else ""
    return f"{word}{repeated}" if setting.is_required else f"[{word}{repeated}]"


def definition(term: str, text: str) -> Iterator[str]:
    """An entry of a definition list."""
    yield from (term, f": {text}", "")
