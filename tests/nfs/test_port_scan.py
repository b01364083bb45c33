"""port_scan: nmap is found, browsers are not."""

from __future__ import annotations

from pathlib import Path

from microbox.testing import run_nf


def test_the_scanner_is_reported_once_a_host(demo: Path) -> None:
    alerts = run_nf("port_scan", demo).alerts
    assert [(one.signature, one.source, one.destination) for one in alerts] == [
        ("port_scan", "192.0.2.66", "198.51.100.10"),
        ("port_scan", "192.0.2.66", "198.51.100.20"),
        ("port_scan", "2001:db8:1::66", "2001:db8:2::10"),
    ]


def test_one_port_of_many_hosts_is_a_scan_too(demo: Path) -> None:
    alerts = run_nf("port_scan", demo, threshold=2).alerts
    scans = {(one.source, one.destination_port) for one in alerts if one.signature == "host_scan"}
    # Web server and TLS server: both on 192.0.2.66's way through ports 20 to 60.
    assert ("192.0.2.66", 22) in scans
    assert ("2001:db8:1::66", 22) not in scans


def test_below_the_threshold_nothing_is_said(demo: Path) -> None:
    assert run_nf("port_scan", demo, threshold=700).alerts == []


def test_tries_outside_of_the_window_do_not_add_up(demo: Path) -> None:
    assert run_nf("port_scan", demo, threshold=100, window=0.001).alerts == []


def test_no_more_pairs_are_watched_than_allowed(demo: Path) -> None:
    result = run_nf("port_scan", demo, pairs_max=2)
    assert result.summary["watched"] == 2
    assert result.summary["forgotten"] > 0
