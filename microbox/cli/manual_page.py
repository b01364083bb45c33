"""Manual pages, in mdoc(7), which both mandoc and groff read."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence

from microbox.cli.manual import EXIT_STATUSES, Setting, Verb

SECTION = "1"
ABOUT = "chains of network functions over one shared TCP/IP stack"
DESCRIPTION = (
    "runs chains of network functions (NFs) over one shared TCP/IP stack.",
    "The stack does the work of the protocols once and publishes typed events;",
    "each NF is a process of its own that subscribes to those that it needs.",
    "A chain is a YAML file.",
)
COMMANDS = ("init nf my_nf", "check chain.yaml", "run chain.yaml -r capture.pcap", "top")


def page_name(verb: str) -> str:
    """`microbox-init-nf` of `init nf`, for `man microbox-init-nf`."""
    return "-".join(("microbox", *verb.split()))


def pages(verbs: Sequence[Verb]) -> dict[str, str]:
    """Texts by file name: a page for each verb, and `microbox.1`, which names them all."""
    texts = {f"microbox.{SECTION}": _text(_overview(verbs))}
    for verb in verbs:
        texts[f"{page_name(verb.name)}.{SECTION}"] = _text(_page(verb))
    return texts


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _head(name: str, summary: str) -> Iterator[str]:
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    day = time.gmtime(seconds)
    yield f".Dd {time.strftime('%B', day)} {day.tm_mday}, {day.tm_year}"
    yield f".Dt {name.upper()} {SECTION}"
    yield ".Os"
    yield ".Sh NAME"
    yield f".Nm {name}"
    yield f".Nd {_plain(summary[0].lower() + summary[1:].rstrip('.'))}"


def _overview(verbs: Sequence[Verb]) -> Iterator[str]:
    yield from _head("microbox", ABOUT)
    yield from (".Sh SYNOPSIS", ".Nm", ".Ar VERB", ".Op Ar ARGUMENTS", ".Nm", ".Fl Fl version")
    yield from (".Sh DESCRIPTION", ".Nm")
    yield from DESCRIPTION
    yield ".Pp"
    yield "The verbs; each has a page of its own:"
    yield ".Bl -tag -width Ds"
    for verb in verbs:
        yield from (f".It Cm {verb.name}", _plain(verb.sentence))
    yield ".El"
    yield from _exit_statuses()
    yield from (
        ".Sh EXAMPLES",
        "A network function of your own, in a chain, with a capture to read:",
    )
    yield ".Bd -literal -offset indent"
    yield from (f"microbox {command}" for command in COMMANDS)
    yield ".Ed"
    yield from _see_also(verbs)


def _page(verb: Verb) -> Iterator[str]:
    yield from _head(page_name(verb.name), verb.sentence)
    yield ".Sh SYNOPSIS"
    yield f".Nm microbox {verb.name}"
    for option in verb.options:
        yield from _in_synopsis(option, f"Fl {_flag(option.names[-1])}{_value(option)}")
    for argument in verb.arguments:
        yield from _in_synopsis(argument, f"Ar {argument.names[0]}")
    yield ".Sh DESCRIPTION"
    for number, paragraph in enumerate((verb.summary, *verb.paragraphs)):
        if number:
            yield ".Pp"
        yield _plain(paragraph)
    if verb.arguments or verb.options:
        yield ".Bl -tag -width Ds"
        for argument in verb.arguments:
            yield from (f".It Ar {argument.names[0]}", _plain(argument.text))
        for option in verb.options:
            flags = " , ".join(f"Fl {_flag(name)}" for name in option.names)
            yield from (f".It {flags}{_value(option)}", _plain(option.text))
            if option.default:
                yield _plain(f"By default {option.default}.")
        yield ".El"
    yield from _exit_statuses()
    yield from (".Sh SEE ALSO", f".Xr microbox {SECTION}")


def _in_synopsis(setting: Setting, macros: str) -> Iterator[str]:
    repeated = " ..." if setting.is_repeated else ""
    yield f".{macros}{repeated}" if setting.is_required else f".Op {macros}{repeated}"


def _flag(name: str) -> str:
    """`Fl` writes one hyphen itself."""
    return name[1:].replace("--", "-").replace("-", "Fl ", 1) if name.startswith("--") else name[1:]


def _value(option: Setting) -> str:
    return f" Ar {option.value}" if option.value else ""


def _exit_statuses() -> Iterator[str]:
    yield from (".Sh EXIT STATUS", ".Bl -tag -width Ds")
    for status, meaning in EXIT_STATUSES.items():
        yield from (f".It {status}", _plain(meaning))
    yield ".El"


def _see_also(verbs: Sequence[Verb]) -> Iterator[str]:
    yield ".Sh SEE ALSO"
    for number, verb in enumerate(verbs, 1):
        yield f".Xr {page_name(verb.name)} {SECTION}{' ,' if number < len(verbs) else ''}"


def _plain(text: str) -> str:
    """Text as it is: no escapes, no requests, no macros; a line for each sentence."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("`", "")
    lines = re.split(r"(?<=[.?!:]) (?=[A-Z-])", text)
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)
