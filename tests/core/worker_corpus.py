"""Runs every capture of the corpus through a whole worker, twice, and checks that nothing is lost.

    worker_corpus.py REPLAY CORPUS

An NF in a thread subscribes to everything and passes everything. The two runs differ in batches, in
the log's size, and in the random key of the flow table, which is so small that flows share chains.
They must print the same; what passed the gate must be what came in. And so must a third one, which
reads the capture from a pipe through a small window. Exits with 77 (meson: skipped) where the
corpus is not beside the checkout.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
RECORD_HEADER = 16
FLOWS_MAX = "128"  # no capture has as many
WINDOW = 16384
NO_STREAM = 77
# A batch ends where the window would have no room for a longer one.
OF_BATCHES = re.compile(
    r'^.*"type": "system.checkpoint".*\n|"system.checkpoint": \d+, |"entries": \d+, ', re.MULTILINE
)


def run(command: list[str]) -> tuple[str, str]:
    """What the program printed, and what is wrong with its end ("": nothing)."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if result.returncode != 0 or result.stderr:
        return result.stdout, f"exit {result.returncode}: {result.stderr[-2000:]}"
    return result.stdout, ""


def complaints_about_stream(replay: str, capture: Path, printed: str) -> list[str]:
    """`printed`: of the file. A window that a record, or what waits, fills is too small."""
    window = WINDOW
    while True:
        command = [replay, "-e", "-b", "-f", FLOWS_MAX, "-s", str(window)]
        command += ["-o", "/dev/null", str(capture)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if result.returncode == NO_STREAM:
            return []
        if result.returncode != 0:
            return [f"as a stream: exit {result.returncode}: {result.stderr[-2000:]}"]
        summary = json.loads(result.stdout.splitlines()[-1])
        is_small = "make input_window" in summary["warning"]
        if not is_small and summary["counters"]["window_relieved"] == 0:
            break
        window *= 4
    is_same = OF_BATCHES.sub("", result.stdout) == OF_BATCHES.sub("", printed)
    return [] if is_same else [f"as a stream, through {window} bytes, it is another"]


def complaints_about(replay: str, capture: Path, packets: int, output: Path) -> list[str]:
    always = [replay, "-e", "-b", "-f", FLOWS_MAX]
    printed, wrong = run([*always, "-o", str(output), str(capture)])
    if wrong:
        return [wrong]
    small = ["-n", "3", "-l", "4096"]
    again, wrong = run([*always, *small, "-o", "/dev/null", str(capture)])
    if wrong:
        return [f"with small batches and a small log: {wrong}"]
    summary = json.loads(printed.splitlines()[-1])
    counters = summary["counters"]
    complaints = []
    if printed != again:
        complaints.append("two replays differ")
    if counters["packets"] != packets:
        complaints.append(f"{counters['packets']} packets, not {packets}")
    if sum(summary["events"].values()) != counters["entries"]:
        complaints.append("the NF did not see as many events as were published")
    if counters["output_packets"] + counters["output_lost"] + counters["gate_unseen"] != packets:
        complaints.append("packets are missing at the gate")
    if (
        output.stat().st_size
        < counters["output_bytes"] + RECORD_HEADER * counters["output_packets"]
    ):
        complaints.append("the output is shorter than what was written")
    return complaints + complaints_about_stream(replay, capture, printed)


def main() -> int:
    replay, corpus = sys.argv[1], Path(sys.argv[2])
    oracle_file = corpus / "oracle.json"
    if not oracle_file.exists():
        print(f"skipped: no corpus at {corpus}")
        return SKIPPED
    oracle = json.loads(oracle_file.read_text())
    failures = 0
    with tempfile.TemporaryDirectory() as directory:
        for name, facts in sorted(oracle.items()):
            capture = corpus / "dev" / name
            output = Path(directory) / "output.pcap"
            for complaint in complaints_about(replay, capture, facts["packets"], output):
                failures += 1
                print(f"{name}: {complaint}")
    print(f"{len(oracle)} captures, {failures} complaints")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
