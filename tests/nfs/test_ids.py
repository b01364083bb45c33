"""ids: patterns in byte streams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from microbox.testing import RunFailed, run_nf

WEB_RULES = Path(__file__).parents[2] / "configs" / "web.rules"

Rules = Callable[[str], Path]


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    def write(text: str) -> Path:
        path = tmp_path / "test.rules"
        path.write_text(text)
        return path

    return write


def test_the_web_rules_find_each_attack_once(demo: Path) -> None:
    alerts = run_nf("ids", demo, rules=WEB_RULES).alerts
    found = {(one.signature, one.source, one.severity) for one in alerts}
    scanner = "192.0.2.66"
    assert found == {
        ("path_traversal", scanner, 4),
        ("password_file", scanner, 4),
        ("jndi_lookup", scanner, 4),
        ("shellshock", scanner, 4),
        ("sql_injection", scanner, 3),
        ("script_injection", scanner, 3),
        ("sqlmap", scanner, 3),
        ("antivirus_test", scanner, 3),
        ("basic_authorization", "192.0.2.10", 2),
    }


def test_a_pattern_across_segments_is_found(demo: Path, rules: Rules) -> None:
    # One client sends its request line in four pieces: "GE", "T /hel", "lo.txt HT", "TP/1.1".
    rule = rules("notice pieces ^GET /hello.txt HTTP/1.1\\r\\nHost: [a-z.]+\\r\\nConnection\n")
    alerts = run_nf("ids", demo, rules=rule).alerts
    assert any(len(one.data) < 30 for one in alerts)


def test_a_pattern_is_reported_once_a_side(demo: Path, rules: Rules) -> None:
    alerts = run_nf("ids", demo, rules=rules("notice request GET /item/\\d+.json\n")).alerts
    flows = [one.flow for one in alerts]
    assert len(flows) == len(set(flows)) > 10


def test_nothing_is_found_where_nothing_is(sample: Path) -> None:
    result = run_nf("ids", sample, rules=WEB_RULES)
    assert result.alerts == []
    assert result.summary["bytes"] == 89 + 241


def test_streams_are_given_back(demo: Path) -> None:
    assert run_nf("ids", demo, rules=WEB_RULES).nf.open == 0  # type: ignore[attr-defined]


def test_no_more_streams_are_searched_than_allowed(demo: Path) -> None:
    result = run_nf("ids", demo, rules=WEB_RULES, streams_max=1)
    assert result.summary["connections_let_pass"] > 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notice only_a_name\n", r":1: expected a severity \(.*\), a name and a pattern"),
        ("# comment\n\nloud name pattern\n", r":3: expected a severity"),
        ("notice a b\nnotice a c\n", r":2: a second rule is called 'a'"),
        ("notice a b\nnotice broken (b\n", r":2: broken: Missing close parenthesis"),
        ("# nothing\n", r"there is no rule in it"),
    ],
)
def test_a_wrong_rule_is_named(sample: Path, rules: Rules, text: str, message: str) -> None:
    with pytest.raises(RunFailed, match=message):
        run_nf("ids", sample, rules=rules(text))
