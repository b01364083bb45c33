"""The test kit: NFs run over captures, or over traffic written in a few lines, inside pytest.

    from microbox.testing import run_nf, tcp

    def test_telnet_is_refused():
        flow = tcp("10.0.0.1:1234", "10.0.0.2:23").send(b"root")
        result = run_nf("block_telnet.py", flow)
        assert [alert.message for alert in result.alerts] == ["telnet refused"]
        assert result.output == flow.traffic[1:]  # all but the SYN

The pytest plugin that comes with microbox has a fixture `run_nf` too, which says more when a test
fails (`microbox.pytest_plugin`).
"""

from microbox.testing.flows import Flow, IcmpFlow, TcpFlow, UdpFlow, icmp, tcp, udp
from microbox.testing.run import (
    Input,
    Published,
    Result,
    RunFailed,
    read_packets,
    read_records,
    run_nf,
    sample_capture,
    traffic_of,
)
from microbox.testing.traffic import Packet, Traffic, interleaved, merged

__all__ = [
    "Flow",
    "IcmpFlow",
    "Input",
    "Packet",
    "Published",
    "Result",
    "RunFailed",
    "TcpFlow",
    "Traffic",
    "UdpFlow",
    "icmp",
    "interleaved",
    "merged",
    "read_packets",
    "read_records",
    "run_nf",
    "sample_capture",
    "tcp",
    "traffic_of",
    "udp",
]
