"""The consolidation experiment of the Microboxes paper: n NFs that need byte streams, each over a
stack of its own and all over one, on one core.

The NFs are in C and do next to nothing, so that the stack is what there is to share. With S for
what the stack takes for a packet and R for what a reader does, n stacks take n(S + R), one takes
S + nR: the gain cannot be more than n(S + R) / (S + nR), which is printed beside it, S and R being
worked out from one NF and from the most.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from chain import FEW, WORK, seconds
from work import write_capture

MOST = 5
GOALS = {2: 1.6, 5: 3.0}

READER = """
#include "microbox/include/microbox_nf.h"

struct reader {
    uint64_t bytes;
};

static enum mb_verdict see(struct mb_nf *nf, const struct mb_event *event) {
    struct reader *reader = nf->state;
    reader->bytes += event->data_length;
    return MB_PASS;
}

const struct mb_nf_descriptor microbox_nf = {
    .abi = MB_NF_ABI,
    .name = "reader",
    .doc = "Count the bytes of streams.",
    .state_size = sizeof(struct reader),
    .handlers = {{.name = "see", .types = {"tcp.data"}, .call = see}},
};
"""


def write_chain(folder: Path, capture: Path, nfs: int) -> Path:
    """A chain of `nfs` such NFs, in a folder of its own."""
    folder.mkdir()
    (folder / "reader.c").write_text(READER)
    lines = [f"input: {capture}", "chain:"]
    lines += [f"  - {{nf: ./reader.c, name: reader_{number}}}" for number in range(nfs)]
    chain = folder / "chain.yaml"
    chain.write_text("\n".join(lines) + "\n")
    return chain


def nanoseconds(*chains: Path) -> float:
    """Of the core, for a packet that all NFs of all chains have read."""
    spent = seconds(chains, WORK.packets) - seconds(chains, FEW)
    return spent / (WORK.packets - FEW) * 1e9


def tell(count: int, shared: float, apart: float, limit: float) -> None:
    """One line for run.py."""
    sample = {
        "measure": f"consolidation.{count}",
        "what": f"{count} NFs that read streams, over one stack, on one core "
        f"(no more than {limit:.1f} times is possible)",
        "value": 1e3 / shared,
        "unit": "M packets/s",
        "reference": 1e3 / apart,
        "reference_name": f"{count} stacks" if count > 1 else "itself",
    }
    if count in GOALS:
        sample["goal_ratio"] = GOALS[count]
    print(json.dumps(sample), flush=True)


def main() -> None:
    """From one NF to five."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="microbox-bench-") as name:
        folder = Path(name)
        capture = folder / "work.pcap"
        write_capture(capture, WORK)
        alone = [write_chain(folder / f"alone_{number}", capture, 1) for number in range(MOST)]
        together = {n: write_chain(folder / f"shared_{n}", capture, n) for n in range(1, MOST + 1)}
        shared = {count: nanoseconds(chain) for count, chain in together.items()}
        apart = {count: nanoseconds(*alone[:count]) for count in together}
        reader = (shared[MOST] - shared[1]) / (MOST - 1)
        stack = shared[1] - reader
        for count in together:
            limit = count * (stack + reader) / (stack + count * reader)
            tell(count, shared[count], apart[count], limit)


if __name__ == "__main__":
    main()
