"""`microbox alerts`: the packets that caused alerts, with the alerts as comments."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from microbox.nf.record_forms import EveForm, JsonForm
from microbox.runtime.outputs.alert_capture import alert_comments
from tests.conftest import ROOT, Tshark, Workbench

RULES = str(ROOT / "configs" / "web.rules")


@pytest.fixture(scope="module")
def logs(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of a run with alerts."""
    bench = Workbench(tmp_path_factory.mktemp("alerts"))
    chain: list[Any] = [{"nf": "ids", "rules": RULES}, "port_scan"]
    assert bench.run("run", bench.chain(*chain, capture=demo), "-q").returncode == 0
    return bench.folder / "microbox-logs"


def alert_lines(logs: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (logs / "alert_log.jsonl").read_text().splitlines()]


def test_each_packet_has_its_alerts_as_comments(
    logs: Path, demo: Path, workbench: Workbench, tshark: Tshark
) -> None:
    alerts = alert_lines(logs)
    done = workbench.run("alerts", logs, "-w", "alerts.pcapng")
    packets = {alert["packet"] for alert in alerts}
    assert done.stdout == f"{len(alerts)} alerts of {len(packets)} packets in alerts.pcapng\n"

    written = workbench.folder / "alerts.pcapng"
    rows = tshark(written, "frame", "frame.packet_id", "frame.comment")
    comments = [comment for _, comment in rows]
    assert sorted(comments) == sorted(
        f"{alert['nf']} {alert['signature']} ({word(alert['severity'])}): {alert['message']}"
        for alert in alerts
    )
    assert {int(number) for number, _ in rows if number} == packets

    # They are the capture's packets, as they were.
    times = {
        time: number for number, time in tshark(demo, "frame", "frame.number", "frame.time_epoch")
    }
    found = tshark(written, "frame", "frame.packet_id", "frame.time_epoch")
    assert [times[time] for _, time in found] == [number for number, _ in found]

    again = workbench.run("alerts", logs / "alert_log.jsonl", "-r", demo, "-w", "again.pcapng")
    assert again.returncode == 0
    assert (workbench.folder / "again.pcapng").read_bytes() == written.read_bytes()


def word(severity: int) -> str:
    return ("information", "notice", "warning", "critical")[severity - 1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no JSON", "alert_log.jsonl:1: is no line of an alert log"),
        ('{"event_type": "flow"}', "alert_log.jsonl:1: is no line of an alert log"),
        (
            '{"nf": "a", "signature": "", "severity": 1, "message": "", "packet": 999999}',
            "has no packet 999999, which caused an alert",
        ),
    ],
)
def test_what_cannot_be_is_said_and_leaves_no_file(
    workbench: Workbench, sample: Path, line: str, said: str
) -> None:
    (workbench.folder / "alert_log.jsonl").write_text(f"{line}\n")
    done = workbench.run("alerts", "alert_log.jsonl", "-r", sample, "-w", "out.pcapng")
    assert done.returncode == 2
    assert said in done.stderr
    assert not (workbench.folder / "out.pcapng").exists()


def test_the_capture_itself_is_not_written_over(
    logs: Path, workbench: Workbench, sample: Path
) -> None:
    copy = workbench.folder / "copy.pcap"
    shutil.copy(sample, copy)
    done = workbench.run("alerts", logs, "-r", copy, "-w", copy)
    assert (done.returncode, copy.read_bytes()) == (2, sample.read_bytes())


def test_where_there_are_no_logs_it_says_what_to_write(workbench: Workbench) -> None:
    done = workbench.run("alerts", "-w", "out.pcapng")
    assert (done.returncode, done.stdout) == (2, "")
    assert "say where: microbox alerts LOGS" in done.stderr


def test_logs_in_either_form_say_the_same(tmp_path: Path) -> None:
    said = {"nf": "ids", "signature": "word", "severity": 4, "message": "here", "packet": 7}
    fields = {"event_type": "alert", **said, "in_shadow": True}
    found = []
    for form in (JsonForm(utc=False), EveForm("alert_log")):
        log = tmp_path / "alert_log.jsonl"
        log.write_text(form.line(0, None, fields) + "\n")
        found.append(alert_comments([log]))
    assert found == [{7: ["ids word (critical, in shadow): here"]}] * 2
