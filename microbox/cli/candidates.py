"""What a word may be by what there is now: runs, their NFs, event types, built-in NFs.

Shells ask for it at each TAB (completion.py), by `microbox --candidates WORD...`: the words behind
`microbox`, the last being the one that is written. The answer is `alone` or `beside`, whether files
and the like are offered too, and then a name a line; or nothing, where no such name is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VALUED = frozenset(
    "--after --catch-up --chain --count --counts --deadline --directory --field --filter "
    "--interval --log-format --metrics --name --on-error --on-failure --on-lag --pace --parameter "
    "--rate --read --run --sandbox --set --sort --stage --timeout --workers --write "
    "-c -n -p -r -w".split()
)
"""Options that another word belongs to."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Of names. `is_alone`: nothing else may stand there."""

    names: Callable[[str, str], Iterator[str]]
    """By the run that is given ("" for all), and what is written. More may come than fit."""
    is_alone: bool = True


def _runs(_: str, __: str) -> Iterator[str]:
    from microbox.runtime.control.control_socket import running

    yield from running()


def _answers(run: str, verb: str) -> Iterator[dict[str, Any]]:
    from microbox.runtime.control.control_socket import ControlError, ask, running

    for name, path in running().items():
        if run in ("", name, name.rpartition(".")[0]):
            try:
                yield ask(Path(path), verb)
            except ControlError:
                continue


def _nfs(run: str, _: str) -> Iterator[str]:
    for status in _answers(run, "status"):
        yield from (nf["name"] for nf in status["nfs"])


def _event_types(run: str, written: str) -> Iterator[str]:
    """As people write them: without `flow.`, unless that is written."""
    from microbox.events.catalog import built_in

    names = [one.name for one in built_in().types]
    for view in _answers(run, "events"):
        names += [one["name"] for one in view["declared"]]
    is_full = written.startswith("flow")
    yield from (name if is_full else name.removeprefix("flow.") for name in names)


def _built_in_nfs(_: str, __: str) -> Iterator[str]:
    from microbox.chain.sources import built_in_names

    yield from built_in_names()


def _verbs(_: str, __: str) -> Iterator[str]:
    from microbox.cli.main import VERBS

    yield from VERBS


def _nothing(_: str, __: str) -> Iterator[str]:
    yield from ()


RUNS, NFS, NOTHING = Kind(_runs), Kind(_nfs), Kind(_nothing)
BUILT_IN_NFS = Kind(_built_in_nfs, is_alone=False)

BEHIND_VERBS = {
    **dict.fromkeys(("flows", "stop", "top"), RUNS),
    **dict.fromkeys(("detach", "promote", "reload"), NFS),
    **dict.fromkeys(("events", "watch"), Kind(_event_types)),
    **dict.fromkeys(("attach", "nfs", "schema"), BUILT_IN_NFS),
    **dict.fromkeys(("doctor", "include", "ps", "trace"), NOTHING),
    "man": Kind(_verbs),
}
"""What the first word behind a verb is."""

BEHIND_OPTIONS = {"--run": RUNS, "--after": NFS}


def print_candidates(words: Sequence[str]) -> int:
    """Whatever is wrong: a person is writing, and wants no message."""
    try:
        lines = _answer([word for word in words if word != "="])  # which bash takes for a word
    except Exception:
        return 1
    print("\n".join(lines), end="\n" if lines else "")
    return 0


def _answer(words: Sequence[str]) -> list[str]:
    *before, written = words or [""]
    kind, begin = _kind(before, written)
    if kind is None:
        return []
    names = dict.fromkeys(kind.names(_value_of("--run", before), written))
    found = [f"{begin}{name}" for name in names if f"{begin}{name}".startswith(written)]
    return ["alone" if kind.is_alone else "beside", *found]


def _kind(before: Sequence[str], written: str) -> tuple[Kind | None, str]:
    """What is expected, and what goes in front of it in the same word."""
    option, equals, _ = written.partition("=")
    if equals:
        return BEHIND_OPTIONS.get(option), f"{option}="
    if before and before[-1] in VALUED:
        return BEHIND_OPTIONS.get(before[-1]), ""
    plain = list(_plain(before))
    if written.startswith("-") or len(plain) != 1:
        return None, ""
    return BEHIND_VERBS.get(plain[0]), ""


def _plain(words: Sequence[str]) -> Iterator[str]:
    """Words that are no options, nor belong to one."""
    is_value = False
    for word in words:
        if not is_value and not word.startswith("-"):
            yield word
        is_value = word in VALUED and not is_value


def _value_of(option: str, words: Sequence[str]) -> str:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return ""
