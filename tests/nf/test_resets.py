"""RESET: the flow is dropped from there on, and both ends get a RST that they believe."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from microbox import PASS, RESET, Event, NetworkFunction, on
from microbox.testing import run_nf
from microbox.testing.packets import ACK, PSH, SYN
from tests.nf.conftest import Frame, MakeCapture, connection, tcp, udp

if TYPE_CHECKING:
    from tests.conftest import Workbench

RST = 0x04
CLIENT_MAC, SERVER_MAC = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"

NF = """
from microbox import RESET
class Resetter(NetworkFunction):
    @on("tcp.data")
    def look(self, event):
        return RESET if b"evil" in bytes(event.data) else None
"""


class ResetEvil(NetworkFunction):
    """Resets connections that say something evil."""

    @on("tcp.data", "udp.datagram")
    def look(self, event: Event) -> Any:
        return RESET if b"evil" in bytes(event.data) else PASS


def with_addresses(frame: Frame, *, back: bool, tag: bytes = b"") -> Frame:
    ends = (CLIENT_MAC, SERVER_MAC) if back else (SERVER_MAC, CLIENT_MAC)
    return b"".join(ends) + tag + frame[12:]


def evil_connection() -> list[Frame]:
    """The server has sent ten bytes that the client has not acknowledged yet."""
    return [
        tcp(SYN, 100, 0),
        tcp(SYN | ACK, 500, 101, back=True),
        tcp(ACK, 101, 501),
        tcp(ACK | PSH, 101, 501, b"good"),
        tcp(ACK | PSH, 501, 105, b"0123456789", back=True),
        tcp(ACK | PSH, 105, 501, b"evil"),
        tcp(ACK | PSH, 105, 511, b"evil"),
        tcp(ACK | PSH, 511, 109, b"more", back=True),
    ]


def test_an_nf_that_names_reset_is_inline() -> None:
    from microbox.nf.manifest import manifest_of

    assert manifest_of(ResetEvil).is_inline


def segments(frames: Sequence[bytes]) -> list[tuple[int, ...]]:
    """Source port, sequence number, acknowledgement, flags of frames without VLAN tags."""
    found = []
    for frame in frames:
        header = frame[34:]
        numbers = [int.from_bytes(header[at : at + 4]) for at in (4, 8)]
        found.append((int.from_bytes(header[:2]), *numbers, header[13]))
    return found


def test_both_ends_get_a_reset_in_the_packets_place(capture: MakeCapture) -> None:
    result = run_nf(ResetEvil, capture(evil_connection()))
    assert segments([packet.data for packet in result.output[:5]]) == segments(
        evil_connection()[:5]
    )
    assert segments([packet.data for packet in result.output[5:]]) == [
        (1234, 105, 501, RST | ACK),
        (80, 511, 0, RST),
    ]
    counters = result.counters
    assert (counters["resets_made"], counters["resets_not_made"]) == (2, 0)
    assert counters["gate_dropped"] == 3
    assert result.verdicts[RESET] == 1


def test_a_flow_that_is_no_connection_is_dropped(capture: MakeCapture) -> None:
    result = run_nf(ResetEvil, capture([udp(b"good"), udp(b"evil"), udp(b"more")]))
    assert len(result.output) == 1
    assert (result.counters["resets_made"], result.counters["resets_not_made"]) == (0, 1)


class ResetFirst(NetworkFunction):
    """Resets whatever begins."""

    inline: ClassVar = True

    @on("tcp.start")
    def look(self, _event: Event) -> Any:
        return RESET


def test_a_connection_may_be_reset_at_its_syn(capture: MakeCapture) -> None:
    result = run_nf(ResetFirst, capture(connection([b"x"])))
    assert segments([packet.data for packet in result.output]) == [
        (1234, 100, 0, RST),
        (80, 0, 101, RST | ACK),
    ]


FIELDS = ("eth.src", "eth.dst", "ip.src", "tcp.seq_raw", "tcp.ack_raw", "vlan.id")
GOOD = (
    "tcp.flags.reset == 1 && ip.checksum.status == 1 && tcp.checksum.status == 1"
    " && !tcp.analysis.flags && !_ws.malformed"
)
TAGS = {"": b"", "7": b"\x81\0\0\x07", "9,7": b"\x81\0\0\x09\x81\0\0\x07"}


def good_resets(capture: Path) -> list[list[str]]:
    """Those that tshark finds nothing wrong with, checksums included."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    command = ["tshark", "-n", "-r", str(capture), "-Y", GOOD, "-T", "fields"]
    for protocol in ("ip", "tcp"):
        command += ["-o", f"{protocol}.check_checksum:TRUE"]
    for name in FIELDS:
        command += ["-e", name]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in output.splitlines()]


@pytest.mark.parametrize("vlans", TAGS)
def test_tshark_finds_nothing_wrong_with_them(
    capture: MakeCapture, workbench: Workbench, vlans: str
) -> None:
    frames = [
        with_addresses(frame, back=frame[34:36] == b"\0P", tag=TAGS[vlans])
        for frame in evil_connection()
    ]
    output = workbench.folder / "out.pcap"
    chain = workbench.chain(
        workbench.nf("resetter", NF), capture=capture(frames), output=str(output)
    )
    result = workbench.run("run", chain)
    assert result.returncode == 0, result.stderr
    client, server = "02:00:00:00:00:01", "02:00:00:00:00:02"
    assert good_resets(output) == [
        [client, server, "10.0.0.1", "105", "501", vlans],
        [server, client, "10.0.0.2", "511", "0", vlans],
    ]


def test_the_summary_says_which_nf_reset_what(capture: MakeCapture, workbench: Workbench) -> None:
    chain = workbench.chain(
        workbench.nf("resetter", NF),
        capture=capture(evil_connection()),
        output=str(workbench.folder / "out.pcap"),
    )
    result = workbench.run("run", chain)
    assert "At the gate" in result.stdout
    summary = workbench.summary()
    assert summary["nfs"][0]["gate"] == {
        "packets": {"verdict.reset": 3},
        "flows_dropped": 0,
        "flows_reset": 1,
        "passed_unjudged": 0,
        "edits": 0,
        "edits_refused": 0,
    }
    (output,) = [one for one in summary["balances"] if one["name"] == "output"]
    assert output["total"] == {"count": 10, "what": "packets, 2 of them RST", "is_loss": False}
    assert summary["lost"] == 0, json.dumps(summary["balances"])
