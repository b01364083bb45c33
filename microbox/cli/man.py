"""`microbox man`: manual pages, made of what the verbs say of themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def man(*verb: str, write: Annotated[Path | None, Parameter(name=("--write", "-w"))] = None) -> int:
    """Print the manual page of a verb, or write all pages into a directory.

    For example: microbox man run | man -l -

    `microbox man -w ~/.local/share/man/man1` puts the pages where `man microbox-run` finds them.

    Parameters
    ----------
    verb
        The verb, such as run or init nf; by default the page that names them all.
    write
        Write all pages into this directory. Made where it does not exist.
    """
    from microbox.cli.main import FINE, WRONG
    from microbox.cli.manual import verbs
    from microbox.cli.manual_page import SECTION, page_name, pages

    texts = pages(verbs())
    if write is not None:
        return _write(texts, write)
    text = texts.get(f"{page_name(' '.join(verb))}.{SECTION}")
    if text is None:
        known = ", ".join(one.name for one in verbs())
        print(f"microbox has no verb '{' '.join(verb)}'; there are {known}", file=sys.stderr)
        return WRONG
    print(text, end="")
    return FINE


def _write(texts: dict[str, str], directory: Path) -> int:
    from microbox.cli.main import FINE, WRONG

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"{error.filename}: cannot be written: {error.strerror}", file=sys.stderr)
        return WRONG
    print(f"{len(texts)} pages are in {directory}")
    return FINE
