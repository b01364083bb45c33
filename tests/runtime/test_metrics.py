"""What Prometheus gets of a run, by HTTP, as its own parser reads it."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from microbox.chain.listening import Address

if TYPE_CHECKING:
    from tests.conftest import Workbench

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "operating.md"
PACKETS = 500

WAITING = f"""
class Waiting(NetworkFunction):
    seen = 0
    @on("packet")
    def see(self, event):
        self.seen += 1
        if self.seen == {PACKETS}:
            while not os.path.exists("go"):
                time.sleep(0.01)
        if self.seen % 100 == 0:
            self.alert(event, "another hundred")
"""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def get(address: str) -> Samples:
    """All samples, by name and labels."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def address_of(process: subprocess.Popen[str]) -> str:
    """Where the run says that its metrics are."""
    assert process.stderr is not None
    found = re.search(r"metrics: http://(\S+)/metrics", process.stderr.readline())
    assert found
    return found[1]


def test_a_run_shows_what_its_summary_says(workbench: Workbench, demo: Path) -> None:
    chain = workbench.chain(
        workbench.nf("waiting", WAITING),
        "flow_log",
        "alert_log",
        capture=demo,
        memory_max="4GiB",
    )
    process = workbench.start("run", chain, "-c", PACKETS, "--metrics", "0")
    address = address_of(process)
    assert address.startswith("127.0.0.1:"), "others do not reach it"
    waiting = {"nf": "waiting", "stage": "0", "worker": "worker"}

    def all_is_read() -> Samples | None:
        samples = get(address)
        is_read = ("microbox_nf_alerts_total", frozenset(waiting.items())) in samples
        if not is_read or value(samples, "microbox_nf_handled_events_total", **waiting) == 0:
            return None
        return samples if value(samples, "microbox_nf_lag_events", **waiting) else None

    samples = workbench.until(all_is_read)
    one_stage = {"stage": "0", "worker": "worker"}
    count = "microbox_stage_latency_seconds_count"
    looks = value(samples, count, **one_stage)
    samples = workbench.until(
        lambda: found if value(found := get(address), count, **one_stage) > looks + 2 else None
    )
    late = "microbox_stage_latency_seconds_sum"
    assert value(samples, late, **one_stage) > 0.1, "it waits for longer than from look to look"
    assert value(samples, "microbox_nf_up", **waiting) == 1
    assert value(samples, "microbox_nf_resident_memory_bytes", **waiting) > 1e6
    for part in ("log", "flows", "area"):
        used, limit = (
            value(samples, f"microbox_memory_{one}_bytes", part=part, worker="worker")
            for one in ("used", "limit")
        )
        assert 0 < used <= limit
    assert value(samples, "microbox_memory_budget_bytes") == 4 << 30
    (workbench.folder / "go").touch()
    assert workbench.end(process).returncode == 0
    documented = set(re.findall(r"`(\w+)`", PAGE.read_text()))
    names = {re.sub("^microbox_|_(bucket|count|sum)$", "", name) for name, _ in samples}
    assert names <= documented

    summary = workbench.summary()
    worker = {"worker": "worker"}
    assert value(samples, "microbox_packets_total", **worker) == summary["input"]["packets"]
    received = {"processed": summary["input"]["packets"], "dropped at a cap": 0}
    for became, packets in received.items():
        shown = value(samples, "microbox_received_packets_total", became=became, **worker)
        assert shown == packets
    assert value(samples, "microbox_packet_bytes_total", **worker) == summary["input"]["bytes"]
    for reason, times in summary["reasons"].items():
        shown = samples.get(
            ("microbox_reasons_total", frozenset({("reason", reason), *worker.items()}))
        )
        assert shown is None or 0 < shown <= times  # some flows end with the input
    flow_log = {"nf": "flow_log", "stage": "0", "worker": "worker"}
    assert value(samples, "microbox_nf_lost_events_total", **flow_log) == 0
    assert value(samples, "microbox_nf_restarts_total", **flow_log) == 0


def test_an_address_that_is_taken_is_said_before_anything_runs(workbench: Workbench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = workbench.run("run", workbench.chain("flow_log"), "--metrics", port)
    assert result.returncode == 2
    assert result.stderr == (
        f"error: metrics at 127.0.0.1:{port}: Address already in use; "
        "expected an address of this machine with a port that is free (0: any)\n"
    )
    assert not (workbench.folder / "microbox-logs").exists()


def test_a_host_that_has_no_name_is_said(workbench: Workbench) -> None:
    result = workbench.run("run", workbench.chain("flow_log"), "--metrics", "a..b:9090")
    assert result.returncode == 2
    assert result.stderr.startswith("error: metrics at a..b:9090: ")


@pytest.mark.parametrize(("written", "option"), [(0, []), ("127.0.0.1:0", []), (1, ["0"])])
def test_the_chain_file_may_say_where_and_the_option_goes_before_it(
    workbench: Workbench, demo: Path, written: int | str, option: list[str]
) -> None:
    waiting = workbench.nf("waiting", WAITING)
    chain = workbench.chain(waiting, capture=demo, metrics=written)
    arguments = ["--metrics", *option] if option else []
    process = workbench.start("run", chain, "-c", PACKETS, *arguments)
    address = address_of(process)
    assert re.fullmatch(r"127\.0\.0\.1:\d{2,}", address), "port 0 is any that is free"
    workbench.until(lambda: any("packets_total" in name for name, _ in get(address)))
    (workbench.folder / "go").touch()
    assert workbench.end(process).returncode == 0


def test_no_address_in_the_chain_file(workbench: Workbench) -> None:
    result = workbench.run("check", workbench.chain("flow_log", metrics="here"))
    assert result.returncode == 2
    assert "`metrics`" in result.stderr
    assert "expected a port such as 9090, or an address such as 0.0.0.0:9090" in result.stderr


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9090", "127.0.0.1", 9090),
        ("0", "127.0.0.1", 0),
        ("0.0.0.0:9090", "0.0.0.0", 9090),
        ("localhost:1", "localhost", 1),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_an_address_in_words(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert address == Address(host, port)
    assert str(address).endswith(text)


@pytest.mark.parametrize("text", ["", "here", "65536", "-1", ":80", "::1:80", "[::1]", "a:b:80"])
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="expected 9090, "):
        Address.parse(text)
