"""packaging/systemd, logrotate and sysusers.d under a real systemd, the first process of a machine
in namespaces of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from endless import rounds
from machine import Machine, running_machine, wait_until, what_is_missing

from tests.conftest import ROOT

MISSING = what_is_missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

PCAP_HEADER = 24
NFS = ["flow_log", "http_log", "dns_log"]
LOGS = "/var/log/microbox/{}/logs"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running_machine(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@dataclass
class Service:
    """microbox@NAME, whose input is a named pipe: the run goes on until the test closes it."""

    machine: Machine
    name: str
    header: bytes
    pipe: int

    @property
    def unit(self) -> str:
        return f"microbox@{self.name}"

    def write(self, octets: bytes) -> None:
        while octets:
            octets = octets[os.write(self.pipe, octets) :]

    def write_header(self) -> None:
        """A run is ready when it knows what it reads."""
        self.write(self.header)

    def let_run(self, *nfs: str) -> None:
        chain = f"input: /run/{self.name}.pcap\nchain:\n"
        file = self.machine.path(f"/etc/microbox/{self.name}.yaml")
        file.write_text(chain + "".join(f"  - {nf}\n" for nf in nfs))

    def seen(self) -> dict[str, Any]:
        """What `microbox ps` says of the run."""
        (run,) = json.loads(self.machine.microbox("ps", "--json"))
        assert isinstance(run, dict)
        return run

    def wait_for_packets(self, number: int) -> None:
        wait_until(lambda: self.seen()["packets"] >= number, f"{number} packets")

    def lines(self, log: str) -> list[str]:
        file = self.machine.path(LOGS.format(self.name)) / log
        return file.read_text().splitlines()


@pytest.fixture
def service(machine: Machine, sample: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    name = request.node.name.removeprefix("test_")
    pipe = machine.path(f"/run/{name}.pcap")
    os.mkfifo(pipe, 0o644)
    # As `systemctl enable` does: systemd keeps what it knows of a unit that others name.
    wants = machine.path("/units/multi-user.target.wants")
    wants.mkdir(exist_ok=True)
    (wants / f"microbox@{name}.service").symlink_to("../microbox@.service")
    machine.run("systemctl", "daemon-reload")
    # Open for both, so that neither side waits for the other to open it.
    service = Service(machine, name, sample.read_bytes()[:PCAP_HEADER], os.open(pipe, os.O_RDWR))
    service.let_run(*NFS)
    service.write_header()
    yield service
    machine.try_to_run("systemctl", "stop", service.unit)
    os.close(service.pipe)


def test_start_returns_when_all_nfs_are_ready_and_confined(service: Service) -> None:
    service.machine.run("systemctl", "start", service.unit)
    assert service.machine.property(service.unit, "ActiveState") == "active"
    assert service.machine.property(service.unit, "StatusText").startswith("live: 0 packets")
    nfs = service.seen()["nfs"]
    assert set(NFS) <= {nf["name"] for nf in nfs}
    confined = dict.fromkeys(("landlock", "seccomp", "no_new_privileges", "undumpable"), True)
    for nf in nfs:
        in_force = nf["in_force"]
        assert {name: bool(in_force[name]) for name in confined} == confined
        assert (in_force["missing"], in_force["capabilities"]) == ([], [])


def test_a_stop_lets_nfs_read_what_is_left_and_says_what_was_processed(
    service: Service, sample: Path
) -> None:
    service.machine.run("systemctl", "start", service.unit)
    service.write(sample.read_bytes()[PCAP_HEADER:])
    service.wait_for_packets(1)
    service.machine.run("systemctl", "stop", service.unit)
    assert service.machine.property(service.unit, "Result") == "success"
    assert service.machine.property(service.unit, "ExecMainStatus") == "143"
    assert "Lost: nothing, and it adds up" in service.machine.journal(service.unit)
    assert len(service.lines("http_log.jsonl")) == 1


def test_an_nf_in_c_is_compiled_and_runs_within_the_unit(service: Service, sample: Path) -> None:
    shutil.copy(ROOT / "examples" / "c" / "count.c", service.machine.path("/etc/microbox"))
    service.let_run("./count.c")
    service.machine.run("systemctl", "start", service.unit)
    service.write(sample.read_bytes()[PCAP_HEADER:])
    service.wait_for_packets(1)
    service.machine.run("systemctl", "stop", service.unit)
    assert service.machine.property(service.unit, "Result") == "success"
    assert "count: " in service.machine.journal(service.unit)


def test_logrotate_moves_the_logs_and_no_line_is_lost(service: Service, sample: Path) -> None:
    _, *exchanges = rounds(sample.read_bytes(), times=1000)
    left = iter(exchanges)
    service.machine.run("systemctl", "start", service.unit)
    log = service.machine.path(LOGS.format(service.name)) / "http_log.jsonl"

    def one_more_is_logged() -> bool:
        """The NF takes its new file when it comes to it: not always before the next packet."""
        service.write(next(left))
        return log.read_text() != ""

    wait_until(one_more_is_logged, "a line of the log")
    service.machine.run("logrotate", "--force", "/etc/logrotate.d/microbox")
    wait_until(log.exists, "a new log")
    wait_until(one_more_is_logged, "a line of the new log")
    service.machine.run("systemctl", "stop", service.unit)
    lines = [*service.lines("http_log.jsonl.1"), *service.lines("http_log.jsonl")]
    assert len(lines) == len(exchanges) - len(list(left))


def test_a_controller_that_hangs_is_started_again(service: Service) -> None:
    drop_in = service.machine.path(f"/units/{service.unit}.service.d")
    drop_in.mkdir()
    (drop_in / "watchdog.conf").write_text("[Service]\nWatchdogSec=5\nRestartSec=0\n")
    service.machine.run("systemctl", "daemon-reload")
    service.machine.run("systemctl", "start", service.unit)
    first = service.machine.property(service.unit, "MainPID")
    service.machine.run("kill", "-STOP", first)
    unit = service.unit
    wait_until(lambda: service.machine.property(unit, "NRestarts") != "0", "a restart")
    service.write_header()
    wait_until(lambda: service.machine.property(unit, "ActiveState") == "active", "active again")
    assert service.machine.property(unit, "MainPID") != first
    assert "Watchdog timeout" in service.machine.journal(unit)
    assert str(service.seen()["process"]) == service.machine.property(unit, "MainPID")


def test_a_chain_that_is_wrong_is_not_started_again(service: Service) -> None:
    service.let_run("flow_logg")
    assert service.machine.try_to_run("systemctl", "start", service.unit).returncode != 0
    assert service.machine.property(service.unit, "ActiveState") == "failed"
    assert service.machine.property(service.unit, "ExecMainStatus") == "2"
    assert service.machine.property(service.unit, "NRestarts") == "0"
    assert "flow_logg" in service.machine.journal(service.unit)
