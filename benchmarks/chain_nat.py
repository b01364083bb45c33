"""A NAT over whole flows, beside an NF that is woken as often and lets everything pass as it is.

Both write all packets to a capture. Connections have some two hundred packets; the NAT is woken at
the start and the end of each, and at no other packet.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from chain import FEW, seconds
from work import Work, write_capture

WORK = Work(packets=1_000_000, flows=2000, segments=200, payload=64)

PASS_ONLY = '''
from microbox import NetworkFunction, on


class PassOnly(NetworkFunction):
    """Sees each flow's start and end, as a NAT has to."""

    inline = True

    @on("flow.start", "flow.end")
    def see(self, event):
        """Nothing."""
'''

NAT = "{nf: nat, inside: [10.0.0.0/8], outside: [203.0.113.1, 203.0.113.2], log: false}"


def write_chain(folder: Path, capture: Path, nf: str) -> Path:
    """A chain of one NF in a folder of its own; the output is the same file for all (chain.py)."""
    folder.mkdir()
    (folder / "pass_only.py").write_text(PASS_ONLY)
    chain = folder / "chain.yaml"
    output = folder.parent / "out.pcap"
    chain.write_text(f"input: {capture}\noutput: {output}\nchain:\n  - {nf}\n")
    return chain


def rate(chain: Path) -> float:
    """Million packets/s."""
    ending = seconds([chain], FEW)
    return (WORK.packets - FEW) / (seconds([chain], WORK.packets) - ending) / 1e6


def main() -> None:
    """Measures both, one after the other."""
    with tempfile.TemporaryDirectory(prefix="microbox-bench-") as name:
        folder = Path(name)
        capture = folder / "work.pcap"
        write_capture(capture, WORK)
        passes = write_chain(folder / "pass", capture, "./pass_only.py")
        translates = write_chain(folder / "nat", capture, NAT)
        seconds([passes], WORK.packets)
        passing, translating = rate(passes), rate(translates)
        sample = {
            "measure": "chain.nat",
            "what": "a NAT that rewrites each flow, to a capture",
            "value": translating,
            "unit": "M packets/s",
            "reference": passing,
            "reference_name": "passing all",
            "goal_ratio": 0.7,
        }
        print(json.dumps(sample), flush=True)


if __name__ == "__main__":
    main()
