"""Whole chains, as `microbox run` runs them: what each level of the stack costs, what several NFs
gain from one stack, what order among them and other names for flows cost.

The NFs only take numpy batches, so that the chain is measured and not what they do. Rates are
packets by seconds; what the same chain takes for a few packets (processes end, too) is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from work import Work, write_capture

NFS = 4
WORK = Work(packets=1_000_000, flows=20_000, payload=64)
FEW = 1000  # packets

READER = '''
from microbox import NetworkFunction, on_batch


class Reader(NetworkFunction):
    """Takes batches and does nothing with them."""

    inline = {inline}

    @on_batch("{event}")
    def read(self, batch):
        """Counts."""
        self.seen = len(batch)
'''

# Woken at the start and the end of each flow, as `nat` and `balancer` are.
JUDGES = {
    "passes": "return None",
    "rewrites": 'event.flow.rewrite(source="192.0.2.1", source_port=1 + event.flow.id % 65535)',
}
JUDGE = '''
from microbox import NetworkFunction, on


class Judge(NetworkFunction):
    """Says one thing of each flow."""

    edits = "headers"

    @on("flow.start")
    def begin(self, event):
        """Says it."""
        {said}

    @on("flow.end")
    def end(self, event):
        """As who gives a port back."""
'''

# What the NF subscribes to → what the stack then does.
LEVELS = {
    "nothing": ("system.end_of_input", "what a chain costs that wants no packets"),
    "packets": ("packet", "decode, an entry a packet"),
    "tracking": ("tcp.end", "flow table and both sides' state"),
    "streams": ("tcp.data", "tracking, in-order bytes, an entry a segment"),
}


def write_chain(
    folder: Path, capture: Path, nfs: int, event: str, inline: bool, *more: str
) -> Path:
    """A chain of `nfs` equal NFs, in a folder of its own. `more`: lines of the chain file."""
    folder.mkdir()
    reader = folder / "reader.py"
    reader.write_text(READER.format(event=event, inline=inline))
    lines = [f"input: {capture}", "chain:"]
    lines += [f"  - {{nf: ./reader.py, name: reader_{number}}}" for number in range(nfs)]
    lines += more
    chain = folder / "chain.yaml"
    chain.write_text("\n".join(lines) + "\n")
    return chain


def write_judge(folder: Path, capture: Path, said: str) -> Path:
    """A chain of one inline NF whose packets go out. All such chains write the same file: for a new
    one memory has to be found first, which takes as long as the packets do."""
    folder.mkdir()
    (folder / "judge.py").write_text(JUDGE.format(said=said))
    chain = folder / "chain.yaml"
    output = folder.parent / "out.pcap"
    chain.write_text(f"input: {capture}\noutput: {output}\nchain: [./judge.py]\n")
    return chain


def start(chain: Path, packets: int) -> subprocess.Popen[str]:
    """`microbox run`, its report on a pipe."""
    command = [str(Path(sys.executable).parent / "microbox"), "run", str(chain)]
    command += ["--json", "--overwrite", "-w", str(chain.parent / "logs"), "-c", str(packets)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def seconds(chains: Sequence[Path], packets: int) -> float:
    """From the first packet to the end, of the slowest where several run at the same time."""
    running = [start(chain, packets) for chain in chains]
    reports = [json.loads(process.communicate()[0]) for process in running]
    return max(float(report["timing"]["seconds"]) for report in reports)


def rate(*chains: Path) -> float:
    """Million packets/s."""
    ending = seconds(chains, FEW)
    return (WORK.packets - FEW) / (seconds(chains, WORK.packets) - ending) / 1e6


def tell(
    measure: str, what: str, value: float, reference: float, reference_name: str, **goals: float
) -> None:
    """One line for run.py."""
    sample = {"measure": measure, "what": what, "value": value, "unit": "M packets/s"}
    beside = {"reference": reference, "reference_name": reference_name}
    print(json.dumps(sample | beside | goals), flush=True)


def measure_levels(chain: Callable[..., Path]) -> None:
    """One NF; from doing nothing to doing all."""
    everything = rate(chain("everything", 1, "event", False))
    tell("chain.level.everything", "all events there are", everything, everything, "itself")
    for level, (event, what) in LEVELS.items():
        value = rate(chain(level, 1, event, False))
        tell(f"chain.level.{level}", what, value, everything, "everything")


def measure_sharing(chain: Callable[..., Path]) -> None:
    """The same NFs over one stack, and each over a stack of its own."""
    apart = rate(*(chain(f"apart_{number}", 1, "tcp.data", False) for number in range(NFS)))
    shared = rate(chain("shared", NFS, "tcp.data", False))
    what = f"{NFS} NFs on tcp.data over one stack"
    tell("chain.shared_stack", what, shared, apart, f"{NFS} stacks")


def measure_order(chain: Callable[..., Path]) -> None:
    """NFs that each wait for the one before, and NFs that wait for nobody."""
    parallel = rate(chain("parallel", NFS, "tcp.data", False))
    sequential = rate(chain("sequential", NFS, "tcp.data", True))
    tell(
        "chain.sequential", f"{NFS} NFs, each behind the last", sequential, parallel, "in parallel"
    )


def measure_rewrites(folder: Path, capture: Path) -> None:
    """A chain that gives each flow another name, against one that lets all pass."""
    chains = {name: write_judge(folder / name, capture, said) for name, said in JUDGES.items()}
    seconds([chains["passes"]], WORK.packets)
    rates = {name: rate(chain) for name, chain in chains.items()}
    what = "packets of flows that an NF has rewritten, checksums repaired"
    tell("chain.rewrites", what, rates["rewrites"], rates["passes"], "all pass", goal_ratio=0.7)


def measure_confinement(chain: Callable[..., Path]) -> None:
    """The same NF confined, as it is without being told, and not."""
    free = rate(chain("free", 1, "packet", False, "sandbox: off"))
    confined = rate(chain("confined", 1, "packet", False))
    tell("chain.confined", "an NF on packet, confined", confined, free, "one that is not")


def main() -> None:
    """Measures all, each once."""
    with tempfile.TemporaryDirectory(prefix="microbox-bench-") as name:
        folder = Path(name)
        capture = folder / "work.pcap"
        write_capture(capture, WORK)

        def chain(label: str, nfs: int, event: str, inline: bool, *more: str) -> Path:
            return write_chain(folder / label, capture, nfs, event, inline, *more)

        measure_levels(chain)
        measure_sharing(chain)
        measure_order(chain)
        measure_rewrites(folder, capture)
        measure_confinement(chain)


if __name__ == "__main__":
    main()
