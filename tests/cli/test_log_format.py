"""`run --log-format`: each message of a run, as programs read it."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from waiting import WAITING, let_it_go_on, wait_until_it_waits

from microbox.cli.log_format import chosen, message_schema

if TYPE_CHECKING:
    from tests.conftest import Workbench

SPEAKS = """
class Speaks(NetworkFunction):
    @on("packet")
    def see(self, event):
        if event.packet == 1:
            print("one\\x1b[31m packet")
            print("to stderr", file=sys.stderr)
            print(5_000 * "x")
        if event.packet == 2:
            raise ValueError("no\\nsuch value")
"""

DIES = """
class Dies(NetworkFunction):
    @on("packet")
    def see(self, event):
        os._exit(3)
"""


def records(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for record in found:
        jsonschema.validate(record, message_schema())
    return found


def speaking(bench: Workbench) -> Path:
    speaks = bench.nf("speaks", SPEAKS)
    return bench.chain({"nf": speaks, "on_error": "skip"})


def test_each_message_is_a_json_object(workbench: Workbench) -> None:
    began = datetime.datetime.now(datetime.UTC)
    ended = workbench.run("run", speaking(workbench), "--log-format", "json", "-q")
    assert (ended.returncode, ended.stdout) == (0, "")
    found = records(ended.stderr)
    printed = [one for one in found if "stream" in one]
    assert [(one["nf"], one["stream"]) for one in printed if one["stream"] == "stderr"] == [
        ("speaks", "stderr")
    ]
    said = [one["message"] for one in printed if one["stream"] == "stdout"]
    assert "packet" in said[0]
    assert "\x1b" not in said[0]
    assert "".join(said[1:]) == 5_000 * "x"
    [problem] = [one for one in found if "handler" in one]
    assert problem["level"] == "warning"
    assert problem["nf"] == "speaks"
    assert problem["handler"] == "see"
    assert "ValueError" in problem["message"]
    assert "packet" in problem["event"]
    assert any("raise ValueError" in line for line in problem["traceback"])
    for one in found:
        now = datetime.datetime.now(datetime.UTC)
        assert began <= datetime.datetime.fromisoformat(one["time"]) <= now
        assert one["chain"].endswith("chain.yaml")


def test_a_message_names_run_nf_stage_and_worker(workbench: Workbench, demo: Path) -> None:
    """As `ps`, the plan and metrics do."""
    chain = workbench.chain(
        {"nf": "firewall", "deny": ["tcp dst port 1"]},
        {"nf": workbench.nf("speaks", SPEAKS), "on_error": "skip", "after": ["firewall"]},
        capture=demo,
        workers=2,
    )
    process = workbench.start("run", chain, "--log-format", "json", "-q")
    found = records(workbench.end(process).stderr)
    assert {one["run"] for one in found} == {f"chain.{process.pid}"}
    told = [one for one in found if "handler" in one]
    assert {(one["nf"], one["stage"]) for one in told} == {("speaks", 1)}
    assert {one["worker"] for one in told} <= {"worker 1", "worker 2"}
    printed = [one for one in found if "stream" in one]
    assert all(one["worker"] in {"worker 1", "worker 2"} for one in printed)


def test_what_the_controller_says_of_an_nf_has_its_level(workbench: Workbench) -> None:
    dies = workbench.nf("dies", DIES)
    ended = workbench.run("run", workbench.chain(dies), "--log-format", "json", "-q")
    assert ended.returncode == 1
    said = [one for one in records(ended.stderr) if one.get("nf") == "dies"]
    assert [(one["level"], one["stage"], one["worker"]) for one in said] == [("error", 0, "worker")]
    assert said[0]["message"].startswith("dies exited with status 3")


def test_the_verb_prints_the_schema(workbench: Workbench) -> None:
    printed = workbench.run("schema", "--messages")
    assert (printed.returncode, json.loads(printed.stdout)) == (0, message_schema())
    jsonschema.Draft202012Validator.check_schema(message_schema())


def test_what_ends_a_run_is_a_message(workbench: Workbench) -> None:
    chain = workbench.chain(workbench.nf("waiting", WAITING))
    process = workbench.start("run", chain, "--log-format", "json", "-q")
    wait_until_it_waits(workbench)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    let_it_go_on(workbench)
    ended = workbench.end(process)
    assert ended.returncode == 143
    found = records(ended.stderr)
    assert {one["pid"] for one in found} == {process.pid}
    notices = [one["message"] for one in found if one["level"] == "notice"]
    assert "no log has been moved" in notices
    assert any(notice.startswith("stops: ") for notice in notices)


def test_errors_of_a_chain_are_messages_with_their_place(workbench: Workbench) -> None:
    chain = workbench.chain("flow_logg", "dns_logg")
    ended = workbench.run("run", chain, "--log-format", "json")
    assert ended.returncode == 2
    found = records(ended.stderr)
    assert [(one["level"], one["line"]) for one in found] == [("error", 1)] * 2
    assert {one["hint"] for one in found} == {
        "did you mean 'flow_log'?",
        "did you mean 'dns_log'?",
    }


@pytest.mark.parametrize("form", ["json", "journal"])
def test_what_is_about_a_whole_file_has_no_line(workbench: Workbench, form: str) -> None:
    ended = workbench.run("run", "nowhere.yaml", "--log-format", form)
    assert ended.returncode == 2
    if form == "json":
        [found] = records(ended.stderr)
        assert (found["file"], "line" in found) == ("nowhere.yaml", False)
    else:
        assert ended.stderr.startswith("<3>nowhere.yaml: no such file")


def test_lines_for_the_journal_have_their_priority(workbench: Workbench) -> None:
    ended = workbench.run("run", speaking(workbench), "--log-format", "journal", "-q")
    lines = ended.stderr.splitlines()
    assert all(re.match(r"<[3-6]>", line) for line in lines), lines
    assert "<6>speaks: to stderr" in lines
    [error] = [number for number, line in enumerate(lines) if "speaks in see(): ValueError" in line]
    assert lines[error].startswith("<4>")
    assert lines[error + 1].startswith("<4>  while handling ")


def test_the_journal_is_known_by_its_stream() -> None:
    there = os.fstat(2)
    assert chosen(None, {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}) == "journal"
    assert chosen(None, {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino + 1}"}) == "text"
    assert chosen(None, {"JOURNAL_STREAM": "nonsense"}) == "text"
    assert chosen(None, {}) == "text"
    assert chosen("json", {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}) == "json"


@pytest.mark.parametrize("form", ["xml", ""])
def test_a_format_that_there_is_not_is_wrong_use(workbench: Workbench, form: str) -> None:
    ended = workbench.run("run", speaking(workbench), "--log-format", form)
    assert ended.returncode == 2
    assert "journal" in ended.stderr
