"""What the manual says of each verb: read from the verbs themselves, as `--help` is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import Argument

EXIT_STATUSES = {
    "0": "All is fine.",
    "1": "The run failed, or an NF died; of doctor: something is missing that chains need.",
    "2": "Usage, configuration or input is wrong: nothing ran.",
    "128 + N": "It ended in order by signal N: 130 by Ctrl-C, 143 by microbox stop or SIGTERM, "
    "129 by its terminal, which was closed.",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """An argument or an option of a verb."""

    names: tuple[str, ...]  # of an option, the short ones first; of an argument, its name alone
    value: str  # what stands behind the option; "" where nothing does
    text: str
    default: str  # "" where it says nothing
    is_required: bool
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: `run`, `init nf`."""

    name: str
    sentence: str  # as it stands in the list of verbs
    summary: str  # what it says of itself first
    paragraphs: tuple[str, ...]  # what else there is to say
    arguments: tuple[Setting, ...]
    options: tuple[Setting, ...]


def verbs() -> list[Verb]:
    """All of them, by name."""
    from microbox.cli.main import make_app

    return sorted(_verbs_of(make_app(()), ""), key=lambda verb: verb.name)


def _verbs_of(app: App, above: str) -> Iterator[Verb]:
    for name in app:
        if name.startswith("-"):
            continue
        one = app[name]
        if one.default_command is None:
            yield from _verbs_of(one, f"{above}{name} ")
        else:
            yield _verb(f"{above}{name}", one)


def _verb(name: str, app: App) -> Verb:
    summary, *paragraphs = _paragraphs(inspect.getdoc(app.default_command) or "")
    shown = [one for one in app.assemble_argument_collection(parse_docstring=True) if one.show]
    arguments = [one for one in shown if not one.name.startswith("-")]
    options = [one for one in shown if one.name.startswith("-")]
    return Verb(
        name=name,
        sentence=app.help,
        summary=summary,
        paragraphs=tuple(paragraphs),
        arguments=tuple(map(_setting, arguments)),
        options=tuple(map(_setting, options)),
    )


def _paragraphs(docstring: str) -> list[str]:
    text = docstring.partition("\nParameters\n---")[0]
    return [part for part in text.strip().split("\n\n") if part]


def _setting(argument: Argument) -> Setting:
    hint = argument.hint
    is_option = argument.name.startswith("-")
    names = sorted(argument.names, key=len) if is_option else [argument.name]
    return Setting(
        names=tuple(names),
        value="" if hint is bool or not is_option else _kind(hint),
        text=" ".join((argument.parameter.help or "").split()),
        default=_default(argument),
        is_required=argument.required,
        is_repeated=str(hint).startswith("list"),
    )


# Also of lists of them, and where they may be left out.
KINDS = {"str": "TEXT", "int": "NUMBER", "float": "NUMBER", "Path": "PATH"}


def _kind(hint: Any) -> str:
    """What a value is, in a word; where only a few are allowed, these."""
    types = list(_types_in(hint))
    choices = [word for one in types if get_origin(one) is Literal for word in get_args(one)]
    if choices:
        return "|".join(choices)
    names = [getattr(one, "__name__", "") for one in types]
    return next(KINDS[name] for name in names if name in KINDS)


def _types_in(hint: Any) -> Iterator[Any]:
    yield hint
    if get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from _types_in(part)


def _default(argument: Argument) -> str:
    """Where nothing, 0 and False stand for "not given", the text says what that means."""
    default = argument.field_info.default
    if argument.required or default is inspect.Parameter.empty or not default:
        return ""
    return str(default)
