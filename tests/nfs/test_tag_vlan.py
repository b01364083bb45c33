"""tag_vlan: every frame leaves with a tag, and each checksum is what it was."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from microbox.testing import RunFailed, run_nf
from tests.conftest import Tshark
from tests.nf.conftest import MakeCapture, udp

CAPTURES = Path(__file__).parents[2] / "captures"
DEMO = CAPTURES / "demo.pcap"
CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "dev"
TUNNELS = ("vxlan", "gre", "6in4", "geneve", "gtp", "ipip", "qinq", "vlan", "mpls")
LAYERS = ("ip", "tcp", "udp", "icmp", "icmpv6")


def test_a_tag_with_priority_comes_in_and_ip_is_marked(capture: MakeCapture) -> None:
    (packet,) = run_nf("tag_vlan", capture([udp(b"hello")]), vlan=20, priority=5, dscp=46).output
    assert packet.data[12:18] == bytes.fromhex("8100a0140800")
    assert packet.data[19] == 46 << 2
    assert packet.data[20:22] == udp(b"hello")[16:18]


def test_a_service_tag_comes_around_a_tag(capture: MakeCapture) -> None:
    path = capture([udp(b"hello")])
    (packet,) = run_nf("tag_vlan", path, vlan=7, service=True).output
    assert packet.data[12:18] == bytes.fromhex("88a800070800")


@pytest.mark.parametrize("wrong", [{"vlan": 0}, {"vlan": 4095}, {"vlan": 1, "priority": 8}])
def test_numbers_that_cannot_be_are_refused(capture: MakeCapture, wrong: dict[str, Any]) -> None:
    with pytest.raises((RunFailed, ValueError), match="expected a number from"):
        run_nf("tag_vlan", capture([udp(b"hello")]), **wrong)


def checked(tshark: Tshark, capture: Path, tmp_path: Path) -> None:
    """All leave, tagged, and tshark says of each checksum what it said before."""
    output = tmp_path / f"{capture.stem}.tagged.pcap"
    chain = tmp_path / "tag.yaml"
    chain.write_text(
        f"input: {capture}\noutput: {output}\nchain: [{{nf: tag_vlan, vlan: 20, dscp: 46}}]\n"
    )
    microbox = Path(sys.executable).with_name("microbox")
    command = [str(microbox), "run", str(chain), "--overwrite"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    frames = len(tshark(capture, "frame", "frame.number"))
    assert len(tshark(output, "vlan.id == 20", "frame.number")) == frames
    for layer in LAYERS:
        status = f"{layer}.checksum.status"
        before = Counter(tshark(capture, layer, status))
        assert Counter(tshark(output, layer, status)) == before, (capture, layer)


def test_tshark_finds_each_checksum_as_it_was(tshark: Tshark, tmp_path: Path) -> None:
    checked(tshark, DEMO, tmp_path)


@pytest.mark.parametrize("name", TUNNELS)
def test_so_it_does_around_tunnels_and_tags(tshark: Tshark, tmp_path: Path, name: str) -> None:
    """The marked header is the one inside, under the checksums of those around it."""
    captures = [one for one in sorted(CORPUS.glob(f"*{name}*.pcap")) if is_ethernet(one)]
    if not captures:
        pytest.skip("the corpus is not beside the checkout, or has no such capture")
    checked(tshark, captures[0], tmp_path)


def is_ethernet(capture: Path) -> bool:
    header = capture.read_bytes()[:24]
    return 1 in (int.from_bytes(header[20:24], order) for order in ("little", "big"))
