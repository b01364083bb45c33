"""alert_log: what other NFs report."""

from __future__ import annotations

from pathlib import Path

from microbox.testing import run_nf


def test_a_line_has_what_the_alert_says(demo: Path) -> None:
    result = run_nf(["block_telnet", "alert_log"], demo)
    line = result.records[0]
    assert (line["event_type"], line["nf"], line["signature"]) == (
        "alert",
        "block_telnet",
        "telnet",
    )
    assert (line["severity"], line["message"], line["dest_port"]) == (2, "telnet refused", 23)
    assert result.summary["signatures"] == {"telnet": len(result.records)}


def test_alerts_of_several_nfs_come_in_causal_order(demo: Path) -> None:
    result = run_nf(["port_scan", "syn_flood", "alert_log"], demo)
    times = [line["timestamp"] for line in result.records]
    assert times == sorted(times)
    assert {line["nf"] for line in result.records} == {"port_scan", "syn_flood"}


def test_signatures_are_counted_apart_up_to_a_limit(demo: Path) -> None:
    result = run_nf(["port_scan", "syn_flood", "alert_log"], demo, signatures_max=1)
    assert result.summary == {"alerts": 4, "signatures": {"port_scan": 3, "other": 1}}
