"""An NF that takes batches holds up no packet: neither one that it is never asked about, nor one
that needs the place of datagrams in its batch."""

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Workbench

PACKETS = 100_000  # more than the gate keeps waiting

JUDGE = """
from microbox import on_batch
class Judge(NetworkFunction):
    inline = True
    seen = 0
    @on_batch("tcp.start")
    def judge(self, batch):
        self.seen += len(batch)
    def finish(self):
        return {"seen": self.seen}
"""

SYN = bytes.fromhex(
    "ffffffffffff 020000000001 0800 45000028 00010000 400666cd 0a000001 0a000002"
    "0400 0050 00000001 00000000 5002ffff 00000000"
)
ARP = bytes.fromhex(
    "ffffffffffff 020000000001 0806 0001080006040001 020000000001 0a000001 000000000000 0a000002"
)


def record(second: int, frame: bytes) -> bytes:
    return struct.pack("<IIII", second, 0, len(frame), len(frame)) + frame


def test_a_batch_ends_though_nothing_follows_that_the_nf_wants(workbench: "Workbench") -> None:
    capture = workbench.folder / "quiet.pcap"
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    capture.write_bytes(header + record(1, SYN) + record(2, ARP) * (PACKETS - 1))
    chain = workbench.chain(workbench.nf("judge", JUDGE), capture=capture)
    result = workbench.run("run", chain)
    assert result.returncode == 0, result.stderr
    assert workbench.summary()["input"]["packets"] == PACKETS


COUNT = """
from microbox import on_batch
class Count(NetworkFunction):
    seen = 0
    @on_batch("udp.datagram")
    def count(self, batch):
        self.seen += len(batch)
    def finish(self):
        return {"seen": self.seen}
"""
DATAGRAMS = 300  # more than there are places for large ones


def fragments(identification: int) -> list[bytes]:
    """Of a UDP datagram of 6,008 bytes."""
    payload = struct.pack(">HHHH", 1000, 53, 6008, 0) + bytes(6000)
    frames = []
    for start in range(0, len(payload), 1480):
        part = payload[start : start + 1480]
        field = start // 8 | (0x2000 if start + 1480 < len(payload) else 0)
        length = 20 + len(part)
        ends = bytes([10, 0, 0, 1, 10, 0, 0, 2])
        header = struct.pack(">BBHHHBBH", 0x45, 0, length, identification, field, 64, 17, 0) + ends
        frames.append(bytes(12) + b"\x08\x00" + header + part)
    return frames


def test_a_batch_ends_before_its_datagrams_take_all_places(workbench: "Workbench") -> None:
    capture = workbench.folder / "fragments.pcap"
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    frames = [frame for n in range(DATAGRAMS) for frame in fragments(n)]
    capture.write_bytes(header + b"".join(record(1, frame) for frame in frames))
    chain = workbench.chain(workbench.nf("count", COUNT), capture=capture)
    result = workbench.run("run", chain)
    assert result.returncode == 0, result.stderr
    assert workbench.summary()["input"]["packets"] == len(frames)
