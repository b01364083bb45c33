"""`microbox reload`: what was changed in files, while their chain runs."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from microbox.cli.run_names import ask_run


def reload(
    nf: str = "",
    /,
    *,
    run: Annotated[str, Parameter(name="--run")] = "",
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    partial: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Take what was changed in the chain file, or read one NF's file anew, while the chain runs.

    Of the chain file all changes are taken, or none, where one of them needs a restart. Others
    lose no event by it and see none twice.

    Parameters
    ----------
    nf
        The NF's name in the chain: a new process takes over at one event, and the old one
        finishes. Without it the chain file is read anew.
    run
        The run, as `microbox ps` shows it, or the name of the chain file without its ending. May
        be left out where one chain runs.
    dry_run
        Show what would be done, and do nothing.
    partial
        Take what can be taken, though other changes need a restart.
    json
        Print one JSON document.
    """
    if nf and (dry_run or partial):
        return _misused("--dry-run and --partial are about the chain file; expected no NF")
    if dry_run and partial:
        return _misused("expected one of --dry-run and --partial")
    if nf:
        return _reload_nf(nf, run, as_json=json)
    wanted = "compare" if dry_run else "take_part" if partial else "take"
    return _reload_chain(run, wanted, as_json=json)


def _misused(words: str) -> int:
    from microbox.cli.main import WRONG

    print(f"error: {words}", file=sys.stderr)
    return WRONG


def _reload_nf(nf: str, run: str, *, as_json: bool) -> int:
    from microbox.cli.terminal import print_json
    from microbox.runtime.membership.by_hand import at_events

    asked = ask_run(run, "reload", nf)
    if isinstance(asked, int):
        return asked
    if as_json:
        print_json({"run": asked[0], "nf": nf, **asked[1]})
    else:
        print(f"{nf} was read anew, and runs from {at_events(asked[1]['events'])} on")
    return 0


def _reload_chain(run: str, wanted: str, *, as_json: bool) -> int:
    from microbox.chain.errors import ChainError, ChainErrors
    from microbox.cli.main import FINE, WRONG
    from microbox.cli.terminal import print_json
    from microbox.runtime.errors import FAILED

    asked = ask_run(run, "reload_chain", file=wanted)
    if isinstance(asked, int):
        return asked
    errors, differences = asked[1]["errors"], asked[1]["differences"]
    if as_json:
        print_json({"run": asked[0], **asked[1]})
    if errors and not as_json:
        raise ChainErrors(ChainError(**one) for one in errors)
    if errors:
        return WRONG
    refused = [one for one in differences if one["action"] == "refused"]
    if not as_json:
        _show(differences)
        _explain(len(refused), len(differences), wanted)
    return FAILED if refused else FINE


def _show(differences: list[dict[str, Any]]) -> None:
    for one in differences:
        where = f" ({one['where']})" if one["where"] else ""
        print(f"{one['action']:8}{one['subject']}: {one['what']}{where}{_outcome(one)}")
    if not differences:
        print("the chain runs as its file says")


def _outcome(difference: dict[str, Any]) -> str:
    from microbox.runtime.membership.by_hand import at_events

    if difference["reason"]:
        return f": {difference['reason']}"
    return f", at {at_events(difference['events'])}" if difference["events"] else ""


def _explain(refused: int, count: int, wanted: str) -> None:
    if not refused or wanted == "compare":
        return
    of_all = f"{refused} of {count} changes cannot be taken while the chain runs"
    rest = (
        "the others were" if wanted == "take_part" else "nothing was done (--partial: the others)"
    )
    print(f"error: {of_all}; {rest}", file=sys.stderr)
