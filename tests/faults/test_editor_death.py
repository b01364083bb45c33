"""An NF that edits packets dies in the middle of one: nobody waits for it, and those behind it see
what leaves."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Workbench

DYING = """
class Dying(NetworkFunction):
    @on("packet")
    def tag(self, event):
        event.push_vlan(7)
        event.edit(ip_ttl=3)
        if event.packet == 5:
            os.kill(os.getpid(), signal.SIGKILL)
"""

BEHIND = """
class Behind(NetworkFunction):
    edits = ""
    @on("packet")
    def see(self, event):
        self.record(event, number=event.packet, frame=bytes(event.frame).hex())
"""

PACKETS = 12  # of sample.pcap


def frames_of(capture: bytes) -> list[str]:
    frames, at = [], 24
    while at < len(capture):
        (length,) = struct.unpack_from("<I", capture, at + 8)
        frames.append(capture[at + 16 : at + 16 + length].hex())
        at += 16 + length
    return frames


def test_what_it_had_not_passed_leaves_as_it_came(workbench: Workbench) -> None:
    chain = workbench.chain(
        {"nf": workbench.nf("dying", "import signal\n" + DYING), "on_failure": "open"},
        workbench.nf("behind", BEHIND),
        output=str(workbench.folder / "out.pcap"),
    )
    workbench.run("run", chain)
    left = frames_of((workbench.folder / "out.pcap").read_bytes())
    seen = [one["frame"] for one in workbench.log("behind")]
    assert left == seen
    assert len(left) == PACKETS
    is_tagged = [frame[24:32] == "81000007" for frame in left]
    first = is_tagged.index(False)
    assert first < 5  # what was in its hands, and all that it had not passed
    assert not any(is_tagged[first:])
    assert workbench.processes() == {}
