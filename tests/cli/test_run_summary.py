"""The summary is readable, complete, and shows foreign text as text."""

import dataclasses
import io

from rich.console import Console

from microbox.cli.summary import equation, print_summary
from microbox.runtime.accounts.report import (
    AlertReport,
    Balance,
    FlowReport,
    GateReport,
    InputReport,
    NFReport,
    OutputReport,
    RunReport,
    ShadowReport,
    Term,
    Timing,
)

FLOW_LOG = NFReport(
    name="flow_log",
    source="flow_log.py",
    added_because="",
    outcome="finished",
    restarts=0,
    matched=1234,
    handled=1200,
    raised=0,
    lost=0,
    published={},
    alerts=0,
    verdicts={"drop": 3},
    gate=GateReport({"verdict.drop_flow": 7, "nf.failed_closed": 1}, 2, 0, 5, 1200, 3),
    shadow=None,
    records=21,
    records_lost=0,
    log="flow_log.jsonl",
    summary={
        "flows": 21,
        "share": 0.5,
        "ports": [80, 443],
        "protocols": {},
        "top_flows": [{"x": 1}],
    },
)

REPORT = RunReport(
    status=1,
    ended="finished",
    error="ids was killed by SIGKILL",
    chain="chain.yaml",
    input=InputReport("in.pcap", "pcap", 2_000_000, 12_345, 1_900_000, {"tcp": 21, "udp": 0}),
    output=OutputReport("out.pcap", 12_342, 1_800_000, 0),
    nfs=[FLOW_LOG],
    events={"packet": 3, "flow.tcp.data": 5},
    reasons={"fin": 3, "tcp.bad_checksum": 2},
    alerts=3,
    first_alerts=[AlertReport("ids", "[red]sig", "GET /\x1b[2J", 3, "10.0.0.1:1 → 10.0.0.2:80")],
    top_flows=[FlowReport("TCP", "10.0.0.1:1", "10.0.0.2:80", 10, 5000, 0.25, "fin")],
    balances=[Balance("packets", Term(12_345, "in the file"), [Term(12_345, "TCP")])],
    warnings=["in.pcap: ends inside a packet"],
    problems=[],
    logs={"flow_log.jsonl": 21},
    caps_met={"flows": {"evict": 1_234}},
    directory="microbox-logs.1",
    timing=Timing(2.0, 6172.5, 4.0),
)


def printed(report: RunReport, *, terminal: bool = False) -> str:
    out = io.StringIO()
    print_summary(report, Console(file=out, width=100, force_terminal=terminal, highlight=False))
    return out.getvalue()


def test_the_summary_shows_every_part() -> None:
    text = printed(REPORT)
    for expected in (
        "chain.yaml: finished, but ids was killed by SIGKILL\n",
        "in.pcap: pcap, 12,345 packets, 1.9 MB; flows: 21 tcp",
        "out.pcap: 12,342 packets, 1.8 MB",
        "2.00 s: 6,172 packets/s, 4 events/s",
        "flow_log: flows 21, share 0.500, ports (80, 443)",
        "10.0.0.1:1",
        "Alerts: 3",
        "… and 2 more in alert_log.jsonl",
        "data  5",
        "flow_log: 1,200 packets edited, 3 edits refused",
        "Lost: nothing, and it adds up",
        "packets: 12,345 in the file = 12,345 TCP",
        "1,234  flows  evict   the oldest were given up",
        "2  tcp.bad_checksum  warning   The TCP checksum is wrong.",
        "Logs in microbox-logs.1",
    ):
        assert expected in text, expected


def test_a_run_that_left_nothing_out_just_finished() -> None:
    assert "chain.yaml: finished\n" in printed(dataclasses.replace(REPORT, status=0, error=""))


def test_what_an_nf_in_shadow_would_have_done_is_said() -> None:
    shadow = ShadowReport(
        packets={"verdict.drop": 4, "verdict.reset": 8},
        flows=3,
        flows_dropped=0,
        flows_reset=1,
        dropped_already=4,
        rewrites=0,
        edits=0,
        passed_unjudged=0,
        promoted=None,
    )
    nf = dataclasses.replace(FLOW_LOG, name="trial", gate=None, shadow=shadow)
    text = printed(dataclasses.replace(REPORT, nfs=[nf]))
    assert (
        "trial would have dropped 12 packets of 3 flows (verdict.drop 4, verdict.reset 8), "
        "reset 1 flow; 4 of these packets were dropped anyway\n"
    ) in text
    assert "At the gate" not in text
    promoted = dataclasses.replace(shadow, promoted=1234)
    assert promoted.in_words.endswith("anyway; it was promoted at event 1,234")


def test_what_is_empty_in_an_nfs_summary_is_left_out() -> None:
    assert "protocols" not in printed(REPORT)


def test_on_a_terminal_a_long_line_goes_on_below_itself() -> None:
    names = {f"name-{number}": number for number in range(8)}
    nf = dataclasses.replace(FLOW_LOG, summary={"names": names, "text": "word " * 20})
    lines = printed(dataclasses.replace(REPORT, nfs=[nf]), terminal=True).splitlines()
    first = next(number for number, line in enumerate(lines) if "flow_log: names" in line)
    assert len(lines[first]) <= 100
    assert len(lines[first + 1]) <= 100
    assert lines[first + 1].startswith("    ")


def test_a_pipe_gets_no_control_codes() -> None:
    assert "\x1b" not in printed(REPORT)


def test_foreign_text_neither_steers_the_terminal_nor_is_markup() -> None:
    text = printed(REPORT, terminal=True)
    assert "[red]sig" in text
    assert "\x1b[2J" not in text


def test_what_does_not_add_up_is_said() -> None:
    balance = Balance("packets", Term(10, "in the file"), [Term(7, "TCP"), Term(0, "UDP")])
    assert equation(balance) == "packets: 10 in the file = 7 TCP + 3 UNACCOUNTED FOR"
    REPORT.balances.append(balance)
    try:
        assert "Lost: 3, and it does NOT add up" in printed(REPORT)
    finally:
        REPORT.balances.remove(balance)


def test_a_loss_of_nothing_is_still_shown() -> None:
    parts = [Term(10, "written"), Term(0, "lost", is_loss=True)]
    assert equation(Balance("output", Term(10, "packets"), parts)) == (
        "output: 10 packets = 10 written + 0 lost"
    )


def test_who_looked_on_is_counted_and_has_no_row() -> None:
    left = dataclasses.replace(FLOW_LOG, outcome="left", attached=True, summary={}, gate=None)
    looks = [dataclasses.replace(left, name=f"flows-{n}") for n in (11, 12)]
    died = dataclasses.replace(looks[0], name="watch-13", outcome="was killed by SIGKILL")
    own = dataclasses.replace(FLOW_LOG, name="flows-14")  # of the chain file
    text = printed(dataclasses.replace(REPORT, nfs=[FLOW_LOG, *looks, died, own]))
    assert "looked on: flows 2\n" in text
    assert "flows-11" not in text
    assert "watch-13" in text
    assert "flows-14" in text
