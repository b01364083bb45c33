"""What is said of a chain that cannot work, once it is known what its NFs are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from microbox.chain.errors import ChainErrors
from microbox.chain.filters import judge_filter
from microbox.chain.plan import Plan
from microbox.channel.messages import ParameterDeclaration

Planner = Callable[..., Plan]
NF = Callable[..., Any]
Complaints = Callable[..., list[str]]


@pytest.fixture
def complaints(plan: Planner) -> Complaints:
    """All errors of a chain, as they are printed."""

    def complain(*nfs: Any) -> list[str]:
        with pytest.raises(ChainErrors) as raised:
            plan(*nfs)
        return [str(error) for error in raised.value.errors]

    return complain


# --- on_lag: skip ---

BLOCK = "expected `on_lag: block` (the default)"


def test_an_inline_nf_cannot_skip(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("wall", on=["tcp.start"], inline=True, skips=True)) == [
        f"chain.yaml:3:5: 'wall' may drop packets, which wait for its verdicts; {BLOCK}"
    ]


def test_an_nf_that_others_read_cannot_skip(complaints: Complaints, nf: NF) -> None:
    http = nf("http", on=["tcp.data"], publishes=["http.request"], skips=True)
    assert complaints(http, nf("log", on=["http.request"])) == [
        f"chain.yaml:3:5: 'http' publishes what 'log' reads, which waits for it; {BLOCK}"
    ]


def test_an_nf_that_another_comes_after_cannot_skip(complaints: Complaints, nf: NF) -> None:
    slow = nf("slow", on=["packet"], skips=True)
    assert complaints(slow, nf("log", on=["packet"], after=("slow",))) == [
        f"chain.yaml:3:5: 'slow' is to come before 'log', which waits for it; {BLOCK}"
    ]


def test_an_nf_that_reads_others_cannot_skip(complaints: Complaints, nf: NF) -> None:
    http = nf("http", on=["tcp.data"], publishes=["http.request"])
    assert complaints(http, nf("log", on=["http.request"], skips=True)) == [
        "chain.yaml:4:5: 'log' reads what 'http' publishes, which is kept until it is read; "
        f"{BLOCK}; only what the stack itself publishes can be skipped"
    ]


def test_an_nf_that_unsubscribes_cannot_skip(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("dip", on=["tcp.data"], commands=True, skips=True)) == [
        "chain.yaml:3:5: 'dip' unsubscribes from flows, and the worker waits for what it says of "
        f"them; {BLOCK}"
    ]


# --- parameters ---

DECLARED = [
    ParameterDeclaration("threshold", "int", 20),
    ParameterDeclaration("rules", "list[str]", required=True),
]


def test_an_unknown_parameter(complaints: Complaints, nf: NF) -> None:
    given = {"treshold": 3, "rules": []}
    assert complaints(nf("scan", on=["tcp.start"], parameters=DECLARED, given=given)) == [
        "chain.yaml:3:5: scan: unknown parameter 'treshold'; did you mean 'threshold'?"
    ]


def test_a_key_of_the_entry_with_a_typing_error(complaints: Complaints, nf: NF) -> None:
    given = {"on_eror": "skip", "rules": []}
    assert complaints(nf("scan", on=["tcp.start"], parameters=DECLARED, given=given)) == [
        "chain.yaml:3:5: scan: unknown parameter 'on_eror'; did you mean 'on_error'?"
    ]


def test_a_parameter_that_nothing_resembles(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("flows", on=["tcp.start"], given={"x": 1})) == [
        "chain.yaml:3:5: flows: unknown parameter 'x'; this NF has no parameters"
    ]


def test_a_parameter_of_another_type(complaints: Complaints, nf: NF) -> None:
    given = {"threshold": "many", "rules": []}
    assert complaints(nf("scan", on=["tcp.start"], parameters=DECLARED, given=given)) == [
        "chain.yaml:3:5: scan: parameter 'threshold': expected int, got 'many' (str)"
    ]


def test_a_missing_parameter(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("scan", on=["tcp.start"], parameters=DECLARED)) == [
        "chain.yaml:3:5: scan: parameter 'rules' (list[str]) is missing"
    ]


# --- events ---


def test_an_unknown_event_type(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("web", on=["http.reqest"])) == [
        "chain.yaml:3:5: unknown event type 'http.reqest'; expected one that `microbox events` "
        "lists; did you mean 'flow.tcp.data.http.request'?"
    ]


def test_an_event_that_nobody_publishes(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("log", on=["alert"])) == [
        "chain.yaml:3:5: nobody publishes 'alert' in this chain, so on_0() would never be called; "
        "expected an NF in front that publishes it"
    ]


def test_an_event_that_only_a_later_nf_publishes(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("log", on=["alert"]), nf("ids", on=["tcp.data"], publishes=["alert"])) == [
        "chain.yaml:3:5: 'log' subscribes to 'alert', which 'ids' (line 4) publishes behind it; "
        "expected 'ids' in front of 'log'"
    ]


def test_an_nf_alone_does_not_publish_for_itself(complaints: Complaints, nf: NF) -> None:
    (error,) = complaints(nf("loop", on=["alert"], publishes=["alert"]))
    assert "nobody publishes 'alert'" in error


def test_a_timer_that_nobody_asked_for(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("tick", on=["timer"])) == [
        "chain.yaml:3:5: nobody asked for a timer; expected @every(SECONDS) above the handler"
    ]


def test_a_filter_on_what_has_no_packet(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("exits", on=[("system.nf_exited", "tcp")])) == [
        "chain.yaml:3:5: a filter cannot match 'system.nf_exited', which has no packet; "
        "expected no filter here"
    ]


@pytest.mark.parametrize(
    ("name", "who"),
    [("tcp.data", "only the stack publishes"), ("http", "nobody publishes")],
)
def test_what_no_nf_may_publish(complaints: Complaints, nf: NF, name: str, who: str) -> None:
    (error,) = complaints(nf("forger", on=["packet"], publishes=[name]))
    assert who in error
    assert "expected a type of its own below it, in `declares`" in error


def test_a_type_that_two_nfs_declare_in_two_ways(complaints: Complaints, nf: NF) -> None:
    one = nf("a", on=["tcp.data"], declares={"flow.tcp.data.smtp": {"command": "text"}})
    two = nf("b", on=["tcp.data"], declares={"flow.tcp.data.smtp": {"command": "u8"}})
    assert complaints(one, two) == [
        "chain.yaml:4:5: b (B) declares: event type 'flow.tcp.data.smtp' is declared twice, with "
        "other fields"
    ]


# --- filters ---


def test_a_filter_that_libpcap_does_not_take(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("web", on=[("tcp.start", "wrong port")])) == [
        "chain.yaml:3:5: filter 'wrong port': syntax error; expected libpcap's syntax, such as "
        "'tcp dst port 80'"
    ]


def test_libpcap_judges_filters() -> None:
    assert judge_filter("tcp dst port 80").is_per_flow
    assert not judge_filter("tcp[tcpflags] & tcp-syn != 0").is_per_flow
    assert "syntax error" in judge_filter("tcp prot 80").error


def test_a_filter_that_would_take_minutes_to_compile_is_refused() -> None:
    hosts = " or ".join(f"host 10.0.{i // 250}.{i % 250}" for i in range(3000))
    assert "56,176 bytes long, at most 4,096; name networks" in judge_filter(hosts).error


def test_a_filter_is_what_is_shown_of_it() -> None:
    assert judge_filter("tcp\0 and nothing of this").error == "it has a zero byte"


# --- failure ---


def test_only_an_nf_that_may_drop_can_fail_closed(complaints: Complaints, nf: NF) -> None:
    assert complaints(nf("reader", on=["tcp.start"], on_failure="closed")) == [
        "chain.yaml:3:5: 'reader' never drops a packet, so it cannot fail closed; expected an NF "
        "that returns DROP, or has `inline = True`"
    ]


# --- all together, and where ---


def test_the_errors_of_all_nfs_come_at_once(complaints: Complaints, nf: NF) -> None:
    errors = complaints(
        nf("a", on=["tcp.start"], given={"x": 1}),
        nf("b", on=["nonsense.type"]),
        nf("c", on=[("tcp.start", "wrong")]),
    )
    assert [error.split(":")[1] for error in errors] == ["3", "4", "5"]


def test_an_error_of_a_handler_points_into_the_nfs_own_file(
    plan: Planner, nf: NF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("web.py").write_text(
        dedent(
            """\
            from microbox import NetworkFunction, on

            class Web(NetworkFunction):
                @on(
                    "tcp.start",
                    filter="wrong  port",
                )
                def on_0(self, event):
                    pass
            """
        )
    )
    web = nf("web", on=[("tcp.start", "wrong port")], lines=[4])
    with pytest.raises(ChainErrors) as raised:
        plan(web)
    (error,) = raised.value.errors
    assert (error.file, error.line, error.column) == ("web.py", 6, 16)
