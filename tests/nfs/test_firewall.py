"""firewall: rules, and what they drop."""

from __future__ import annotations

from pathlib import Path

import pytest

from microbox import DROP_FLOW, RESET
from microbox.testing import RunFailed, run_nf
from tests.conftest import Tshark

# A rule, and tshark's filter for the packets of the flows that it denies. ICMP errors share the
# fate of the flow that they quote; the demo has some about UDP.
RULES = [
    ("tcp dst port 23", "tcp.port == 23"),
    ("udp", "udp"),
    ("ip6 and tcp", "ipv6 && tcp"),
    ("src host 192.0.2.10 and tcp", "ip.addr == 192.0.2.10 && tcp"),
    ("tcp dst net 198.51.100.0/24 dst port 8000-8080", "tcp.port in {8000..8080} && ip && tcp"),
    ("net 203.0.113.0/24", "ip.addr == 203.0.113.0/24 && !icmp"),
    ("dst host 2001:db8:2::20", "ipv6.addr == 2001:db8:2::20 && tcp"),
    ("icmp6", "icmpv6"),
    ("port 53 and udp", "udp.port == 53 && !icmp"),
]


@pytest.mark.parametrize(("rule", "dropped"), RULES, ids=[rule for rule, _ in RULES])
def test_flows_that_a_rule_denies_are_dropped_from_the_first_packet_on(
    demo: Path, tshark: Tshark, rule: str, dropped: str
) -> None:
    passed = run_nf("firewall", demo, deny=[rule]).output
    assert len(passed) == len(tshark(demo, f"!({dropped})", "frame.number"))


def test_without_rules_everything_passes(demo: Path, tshark: Tshark) -> None:
    assert len(run_nf("firewall", demo).output) == len(tshark(demo, "frame", "frame.number"))


def test_exceptions_come_first(sample: Path) -> None:
    result = run_nf("firewall", sample, deny=["tcp", "udp"], allow=["tcp dst port 80"])
    assert len(result.output) == 10
    assert result.verdicts[DROP_FLOW] == 1


def test_a_line_says_which_rule_dropped_a_flow(sample: Path) -> None:
    result = run_nf("firewall", sample, deny=["tcp dst port 23", "udp"])
    (line,) = result.records
    assert (line["event_type"], line["rule"], line["dest_port"]) == ("drop", "udp", 53)
    assert result.summary["dropped"] == {"tcp dst port 23": 0, "udp": 1}


def test_a_denied_connection_may_be_reset(sample: Path) -> None:
    result = run_nf("firewall", sample, deny=["tcp"], action="reset")
    assert result.verdicts[RESET] == 1
    assert result.counters["resets_made"] == 2
    assert [line["event_type"] for line in result.records] == ["reset"]


def test_an_unknown_action_is_refused(sample: Path) -> None:
    with pytest.raises(RunFailed, match="expected drop or reset, not 'reject'"):
        run_nf("firewall", sample, action="reject")


def test_the_log_may_be_off(sample: Path) -> None:
    assert run_nf("firewall", sample, deny=["udp"], log=False).records == []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("tcp dst prot 23", "'prot' is not understood; expected words such as"),
        ("", "there is no condition"),
        ("host 300.1.1.1", "'300.1.1.1' does not appear to be an IPv4 or IPv6 network"),
        ("net 10.0.0.1/8", "has host bits set"),
        ("port 70000", "'70000' is neither a port nor a range"),
        ("tcp dst", "'dst' is not understood"),
    ],
)
def test_a_wrong_rule_is_named(sample: Path, rule: str, message: str) -> None:
    with pytest.raises(RunFailed, match=f"rule '{rule}': .*{message}"):
        run_nf("firewall", sample, deny=[rule])
