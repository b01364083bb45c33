"""`run_nf` over flows and traffic; events, alerts, verdicts, records and output to assert on."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import microbox
from microbox import DROP, NetworkFunction, on
from microbox.nf.errors import LoadError
from microbox.testing import Result, RunFailed, Traffic, interleaved, merged, run_nf, tcp, udp

RunNF = Callable[..., Result]


class NoTelnet(NetworkFunction):
    """Drops connections to port 23."""

    @on("tcp.start", filter="tcp dst port 23")
    def refuse(self, event: Any) -> Any:
        """All of it."""
        self.alert(event, "telnet refused", signature="telnet")
        self.record(event, refused=True)
        return microbox.DROP_FLOW


def test_events_alerts_verdicts_records_and_output_are_there() -> None:
    telnet, web = tcp("10.0.0.1:1234", "10.0.0.2:23").send(b"root"), tcp().send(b"GET /").close()
    result = run_nf(NoTelnet, [telnet, web], observe=["tcp.end", "tcp.data"])
    assert [one.message for one in result.alerts] == ["telnet refused"]
    assert result.verdicts[microbox.DROP_FLOW] == 1
    assert result.records[0]["dest_port"] == 23
    assert result.output == web.traffic
    assert [bytes(one.data) for one in result.observed if one.name == "flow.tcp.data"] == [b"GET /"]
    assert {str(one.flow) for one in result.observed} == {"10.0.0.1:1234 → 10.0.0.2:80 TCP"}


def test_all_kinds_of_input_are_taken(tmp_path: Path) -> None:
    flow = udp().send(b"a").reply(b"b")
    path = flow.traffic.write(tmp_path / "a.pcap")
    for given in (flow, flow.traffic, list(flow), [flow], path, str(path)):
        assert run_nf(NoTelnet, given).output == flow.traffic
    with pytest.raises(TypeError, match=r"not b'frame'; of frames Traffic.of"):
        run_nf(NoTelnet, [b"frame"])  # type: ignore[arg-type]
    with pytest.raises(RunFailed, match="no.pcap: No such file"):
        run_nf(NoTelnet, "no.pcap")
    assert run_nf(NoTelnet, Traffic()).output == []


def test_an_nf_that_there_is_not_is_named() -> None:
    with pytest.raises(LoadError, match=r"no built-in NF is called 'flow_lgo'.*'flow_log'"):
        run_nf("flow_lgo", udp())


def test_a_packed_capture_is_taken_and_one_that_was_cut_says_so(tmp_path: Path) -> None:
    flow = udp().send(b"a").reply(b"b")
    packed = gzip.compress(flow.traffic.capture())
    (tmp_path / "a.pcap.gz").write_bytes(packed)
    result = run_nf(NoTelnet, tmp_path / "a.pcap.gz")
    assert (result.output, result.warning) == (flow.traffic, "")
    (tmp_path / "a.pcap.gz").write_bytes(packed[:-1])
    result = run_nf(NoTelnet, tmp_path / "a.pcap.gz")
    assert result.output == flow.traffic
    assert f"the gzip data end at byte {len(packed) - 1}" in result.warning


def test_the_same_traffic_gives_the_same_output() -> None:
    flows = [tcp(f"10.0.0.1:{port}").send(b"x" * 100, mss=10).close() for port in range(1000, 1020)]
    traffic = interleaved(*flows, seed=5).losing(0.1, seed=6).reordering(0.2, seed=7)
    first, second = (run_nf(NoTelnet, traffic, observe=["tcp"]) for _ in range(2))
    assert first.output == second.output == traffic
    assert list(map(repr, first.observed)) == list(map(repr, second.observed))
    assert len(first.observed) > 20


def test_an_observer_sees_only_what_passed_the_nf_under_test() -> None:
    class DropFirst(NetworkFunction):
        """Drops the first packet."""

        @on("packet")
        def judge(self, event: Any) -> Any:
            """By number."""
            return DROP if event.packet == 1 else None

    traffic = merged(udp().send(b"a").send(b"b"))
    result = run_nf(DropFirst, traffic)
    assert result.output == traffic[1:]


def test_the_plugin_has_the_fixture(run_nf: RunNF) -> None:
    assert run_nf(NoTelnet, tcp("10.0.0.1:1", "10.0.0.2:23")).output == []


FAILING = """
from microbox.testing import tcp

def test_it(run_nf):
    result = run_nf({nf!r}, tcp("10.0.0.1:1", "10.0.0.2:23").send(b"root"))
    assert len(result.output) == 1
"""

NF = '''
from microbox import DROP, NetworkFunction, on

class NoTelnet(NetworkFunction):
    """Drops."""

    @on("tcp.start")
    def refuse(self, event):
        self.alert(event, "telnet refused")
        return DROP
'''


def test_a_test_that_fails_says_what_its_runs_gave(tmp_path: Path) -> None:
    (tmp_path / "no_telnet.py").write_text(NF)
    (tmp_path / "test_it.py").write_text(FAILING.format(nf=str(tmp_path / "no_telnet.py")))
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    report = done.stdout.partition("- microbox -")[2]
    assert "packets: 5 came, 4 left" in report
    assert "verdicts: DROP 1" in report
    assert "alerts: 1\n    telnet refused" in report
    (path,) = [word.rstrip(":") for word in report.split() if word.endswith("traffic-1.pcap:")]
    assert len(microbox.read(path, "packet")) == 5


def test_the_plugin_loads_nothing_before_it_is_used() -> None:
    code = "import microbox.pytest_plugin, sys; print(*sys.modules)"
    command = [sys.executable, "-P", "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "microbox._core", "microbox.testing"} & set(loaded)
