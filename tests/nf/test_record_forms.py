"""EVE's form of a log: the names and places that Suricata has for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from microbox import community_id
from microbox.nf.record_forms import EveForm, eve_time
from microbox.testing import Flow, icmp, tcp
from tests.conftest import Workbench

ALERTING = """
class Alerting(NetworkFunction):
    @on("tcp.start", "udp.start", "icmp.start")
    def begin(self, event):
        self.alert(event, "seen", signature="start", severity=4)
        self.record(event, event_type="seen", what="start")
        self.record(event, what="plain")
"""


def eve_lines(workbench: Workbench, flow: Flow, name: str) -> list[dict[str, Any]]:
    """What a chain with `logs: {format: eve}` writes of a flow."""
    capture = workbench.folder / "flow.pcap"
    flow.traffic.write(capture)
    chain = workbench.chain(
        workbench.nf("alerting", ALERTING), capture=capture, logs={"format": "eve"}
    )
    assert workbench.run("run", chain, "-q").returncode == 0
    return workbench.log(name)


def test_lines_are_as_suricata_writes_them(workbench: Workbench) -> None:
    flow = tcp("10.0.0.1:1234", "10.0.0.2:80", vlan=5).send(b"GET /")
    seen, plain = eve_lines(workbench, flow, "alerting")
    assert (
        list(seen)
        == (
            "timestamp flow_id pcap_cnt event_type vlan src_ip src_port dest_ip dest_port proto"
            " community_id seen"
        ).split()
    )
    assert (seen["flow_id"], seen["pcap_cnt"], seen["vlan"]) == (1, 1, [5])
    assert (seen["src_ip"], seen["src_port"]) == ("10.0.0.1", 1234)
    assert seen["community_id"] == community_id("10.0.0.1", "10.0.0.2", 1234, 80, 6)
    assert (seen["event_type"], seen["seen"]) == ("seen", {"what": "start"})
    assert (plain["event_type"], plain["alerting"]) == ("alerting", {"what": "plain"})
    (alert,) = workbench.log("alert_log")
    assert alert["alert"] == {
        "nf": "alerting",
        "signature": "start",
        "severity": 1,  # EVE's highest
        "message": "seen",
        "packet": 1,
    }
    (reported,) = workbench.summary()["first_alerts"]
    assert (reported["signature"], reported["severity"]) == ("start", 4)


def test_icmp_has_neither_ports_nor_a_community_id(workbench: Workbench) -> None:
    seen, _ = eve_lines(workbench, icmp("10.0.0.1", "10.0.0.2").send(), "alerting")
    assert seen["proto"] == "ICMP"
    assert not {"src_port", "dest_port", "community_id"} & set(seen)


def test_a_line_about_no_event_has_time_and_type() -> None:
    line = json.loads(EveForm("mine").line(1_700_000_000_123_456_789, None, {"a": 1}))
    assert line == {
        "timestamp": "2023-11-14T22:13:20.123456+0000",
        "event_type": "mine",
        "mine": {"a": 1},
    }


def test_microseconds_are_cut_not_rounded() -> None:
    assert eve_time(999_999_999) == '"1970-01-01T00:00:00.999999+0000"'


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"event_type": "alert", "severity": 4}, 1),
        ({"event_type": "alert", "severity": 1}, 4),
        ({"event_type": "alert", "severity": "high"}, "high"),
        ({"event_type": "other", "severity": 4}, 4),
    ],
)
def test_only_the_severity_of_alerts_is_turned_round(
    fields: Mapping[str, Any], severity: object
) -> None:
    line = json.loads(EveForm("mine").line(0, None, fields))
    assert line[fields["event_type"]]["severity"] == severity
