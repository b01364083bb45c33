"""Reads every capture of the corpus and compares with what tshark finds in it.

    io_corpus.py LIST_FRAMES CORPUS

Exits with 77 (meson: skipped) where the corpus is not beside the checkout.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

SKIPPED = 77
NANOSECOND_MAGICS = (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d")


Frame = tuple[int, int, int]  # time in nanoseconds, bytes captured, bytes on the wire


def read_frames(program: str, capture: Path) -> tuple[list[Frame], str]:
    """What the source reads, and what ended the reading."""
    result = subprocess.run([program, capture], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return [], f"exit {result.returncode}: {result.stderr}"
    *frames, end = result.stdout.splitlines()
    return [parse_frame(line) for line in frames], end.strip()


def parse_frame(line: str) -> Frame:
    time, captured, on_wire, _link_type = map(int, line.split())
    return time, captured, on_wire


def tshark_frames(capture: Path) -> list[Frame]:
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields"]
    fields = ["-e", "frame.time_epoch", "-e", "frame.cap_len", "-e", "frame.len"]
    # It reports a file that ends inside a record by its exit status, after all whole frames.
    result = subprocess.run([*command, *fields], capture_output=True, text=True, check=False)
    frames = []
    for line in result.stdout.splitlines():
        time, captured, on_wire = line.split("\t")
        seconds, fraction = time.split(".")
        nanoseconds = int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9])
        frames.append((nanoseconds, int(captured), max(int(captured), int(on_wire))))
    return frames


def is_unusual(capture: Path) -> bool:
    """Whether it is something else than pcap with microseconds."""
    head = capture.read_bytes()[:4]
    return capture.suffix == ".pcapng" or head in NANOSECOND_MAGICS


def main() -> int:
    program, corpus = sys.argv[1], Path(sys.argv[2])
    oracle_file = corpus / "oracle.json"
    if not oracle_file.exists():
        print(f"skipped: no corpus at {corpus}")
        return SKIPPED
    oracle = json.loads(oracle_file.read_text())
    complaints = []
    compared = 0
    for number, (name, facts) in enumerate(sorted(oracle.items())):
        capture = corpus / "dev" / name
        frames, end = read_frames(program, capture)
        if len(frames) != facts["packets"]:
            complaints.append(f"{name}: {len(frames)} frames, not {facts['packets']} ({end})")
        if shutil.which("tshark") and (is_unusual(capture) or number % 30 == 0):
            compared += 1
            if frames != tshark_frames(capture):
                complaints.append(f"{name}: times or lengths are not tshark's")
        if end != "end":
            print(f"{name}: {end}")
    print(f"{len(oracle)} captures read, {compared} compared frame by frame with tshark")
    print("\n".join(complaints))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
