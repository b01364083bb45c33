"""`--set KEY=VALUE`: what it reaches, and what it is answered with where it reaches nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from microbox.chain.load import load_chain, read_chain
from microbox.chain.model import Chain, Overrides

FILE = """\
input: capture.pcap
chain:
  - flow_log
  - {nf: port_scan, name: scan.fast, threshold: 5, restart: true}
  - parallel: [{nf: ids, rules: web.rules}, http_log]
events:
  tcp.data.get: data startswith "GET "
stack:
  tcp_timeout: 5m
  hosts: [{network: 10.0.0.0/8}, {network: 192.0.2.0/24}]
sandbox: off
"""

Load = Callable[..., Chain]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "capture.pcap").touch()
    (tmp_path / "chain.yaml").write_text(FILE)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Load:
    """The chain with these settings."""
    return lambda *settings: load_chain(folder / "chain.yaml", Overrides(settings=settings))


@pytest.fixture
def complaints(folder: Path) -> Callable[..., list[str]]:
    assert Path.cwd() == folder  # so messages have no directories

    def complain(*settings: str) -> list[str]:
        return [
            str(error)
            for error in read_chain(Path("chain.yaml"), Overrides(settings=settings)).errors
        ]

    return complain


def test_a_setting_takes_the_place_of_the_files(load: Load) -> None:
    assert load("stack.tcp_timeout=10s").settings["tcp_timeout"] == 10_000_000_000


def test_a_setting_may_be_one_that_the_file_does_not_have(load: Load) -> None:
    chain = load("stack.force.flows=0.5", "log.slots=8192", "logs={utc: true}")
    assert chain.settings["force_flows"] == 1 << 31
    assert (chain.log_slots, chain.utc) == (8192, True)


def test_the_last_of_several_counts(load: Load) -> None:
    assert load("workers=2", "workers=3").workers == 3


def test_an_nf_goes_by_its_name(load: Load) -> None:
    chain = load(
        "chain.flow_log.on_error=skip",
        "chain.scan.fast.threshold=50",
        "chain.scan.fast.restart.attempts=2",
        "chain.ids.rules=other.rules",
        "chain.http_log.name=pages",
    )
    flow_log, scan, ids, http_log = chain.nfs
    assert flow_log.on_error == "skip"
    assert scan.parameters == {"threshold": 50}
    assert scan.supervision.restart is not None
    assert scan.supervision.restart.attempts == 2
    assert ids.parameters == {"rules": "other.rules"}
    assert (http_log.name, http_log.group) == ("pages", 2)


def test_an_entry_of_a_list_goes_by_its_number(load: Load) -> None:
    hosts = load("stack.hosts.1.hops=3").hosts
    assert [host.hops for host in hosts] == [0, 3]


def test_names_of_events_have_dots(load: Load) -> None:
    chain = load(
        "events.tcp.data.get.at_most=1",
        "events.tcp.start.web.when=destination_port == 80",
        "events.tcp.data.put.counters.seen=true",
    )
    rules = {event.name: event.rule for event in chain.events}
    assert (rules["tcp.data.get"].when, rules["tcp.data.get"].at_most) == (
        'data startswith "GET "',
        1,
    )
    assert rules["tcp.start.web"].when == "destination_port == 80"
    assert rules["tcp.data.put"].counters == {"seen": "true"}


def test_what_is_short_in_a_file_may_be_short_here(load: Load) -> None:
    chain = load("chain=[flow_log, {nf: http_log, sandbox: off}]", "sandbox=on")
    assert [(nf.name, nf.sandbox.is_on) for nf in chain.nfs] == [
        ("flow_log", True),
        ("http_log", False),
    ]


MISTAKES = {
    "no value": (
        "workers",
        "--set: 'workers' says no value of a key; expected KEY=VALUE; for example "
        "stack.tcp_timeout=5m",
    ),
    "no key": (
        "stack..x=3",
        "--set: 'stack..x=3' says no value of a key; expected KEY=VALUE; for example "
        "stack.tcp_timeout=5m",
    ),
    "a value that is no YAML": (
        "workers=[",
        "--set workers: the value is no YAML: while parsing a flow node: expected the node "
        "content, but found '<stream end>'",
    ),
    "a key that is not known": (
        "stack.flows_mx=3",
        "--set stack.flows_mx: unknown key 'flows_mx' in `stack`; expected",
    ),
    "a section that is not known": ("stak.flows_max=3", "--set stak.flows_max: unknown key 'stak'"),
    "a value of another type": (
        "stack.tcp_timeout=300",
        "--set stack.tcp_timeout: `stack.tcp_timeout` is 300 (a whole number); expected a duration "
        "with its unit, such as 7440s or 124m; did you mean '300s'?",
    ),
    "an NF that is not there": (
        "chain.flow_lgo.top=3",
        "--set chain.flow_lgo.top: no NF of the chain is called 'flow_lgo'; expected 'flow_log', "
        "'scan.fast', 'ids' or 'http_log'; did you mean 'flow_log'?",
    ),
    "an entry that is not there": (
        "stack.hosts.2.hops=1",
        "--set stack.hosts.2.hops: there is a list of 2, which has no '2' in it; expected a number "
        "from 0 on, or the whole list as the value",
    ),
    "a way through a value": (
        "stack.tcp_timeout.seconds=3",
        "--set stack.tcp_timeout.seconds: there is '5m' (text), which has no 'seconds' in it",
    ),
    "a word in place of true or false": (
        "sandbox.enabled=maybe",
        "--set sandbox.enabled: `sandbox.enabled` is 'maybe' (text); expected true or false",
    ),
    "the same of one NF": (
        "chain.flow_log.sandbox.network=maybe",
        "--set chain.flow_log.sandbox.network: `chain[0].sandbox.network` is 'maybe' (text); "
        "expected true or false",
    ),
    "a file to be included": (
        "include=[site.yaml]",
        "--set include: no option includes files; expected `include` in the chain file",
    ),
    "an input that is not there": (
        "input=captur.pcap",
        "--set input: no such file 'captur.pcap'; expected a capture file (pcap or pcapng); did "
        "you mean 'capture.pcap'?",
    ),
    "an NF's file that is not there": (
        "chain.http_log.nf=./mine.py",
        "--set chain.http_log.nf: 'mine.py' does not exist; expected the file of an NF",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_of_the_option(
    complaints: Callable[..., list[str]], mistake: str
) -> None:
    setting, expected = MISTAKES[mistake]
    (error,) = complaints(setting)
    assert error.startswith(expected)


def test_mistakes_of_the_file_and_of_options_come_together(
    folder: Path, complaints: Callable[..., list[str]]
) -> None:
    (folder / "chain.yaml").write_text(FILE + "logs: {utc: yes}\n")
    errors = complaints("workers=0", "stack.tcp_timeout=-1s")
    assert [error.partition(": ")[0] for error in errors] == [
        "--set stack.tcp_timeout",
        "--set workers",
        "chain.yaml:12:13",
    ]


def test_a_condition_of_the_command_line_has_no_column(load: Load) -> None:
    event = load("events.tcp.data.get=data contains 3").events[0]
    assert {str(place.file) for place in event.places["when"]} == {"--set events.tcp.data.get"}


def test_a_file_without_nfs_has_none_to_set(folder: Path) -> None:
    (folder / "chain.yaml").write_text("input: capture.pcap\n")
    errors = read_chain(folder / "chain.yaml", Overrides(settings=("chain.ids.rules=x",))).errors
    assert [str(error).partition(": ")[2] for error in errors] == [
        "the file has no `chain`, so no NF to set anything of",
        "`chain` is missing; expected a list of NFs: names, paths, or {nf: NAME, PARAMETER: VALUE}",
    ]
