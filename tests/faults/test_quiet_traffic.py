"""An NF that judges in batches does not hold up packets that it is never asked about."""

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
