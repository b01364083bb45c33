"""Cuts captures into inputs for a fuzz target to begin with: those of the repository, and the
real ones beside the checkout where they are.

usage: fuzz_seeds.py TARGET DIRECTORY
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from stack_driver.captures import corpus, frames_of
from stack_driver.packets import Frame

from microbox.chain.conditions.compiler import compile_rule
from microbox.chain.conditions.rule import Rule
from microbox.events.catalog import built_in

ROOT = Path(__file__).resolve().parent.parent
LINK_TYPES = [
    int(number)
    for number in re.findall(
        r"\d+",
        re.findall(r"link_types\[\] = \{(.*?)\}", (ROOT / "fuzz/link_types.h").read_text())[0],
    )
]
LARGEST = 4096  # bytes of an input: libFuzzer's usual limit
FRAMES = 2000  # of a capture that are looked at
INPUTS = 4  # of a capture, where an input is many frames
TEN_SECONDS = 10_000_000_000
EXPRESSIONS = ["tcp port 80", "udp", "ip6 and not port 53", "net 10.0.0.0/8", "tcp[13] & 2 != 0"]

ENTRY_SIZE = 192
CONDITIONS = [
    'data startswith "GET " and destination_port == 80',
    "source in (10.0.0.0/8, 2001:db8::/32) or source == destination",
    "tcp_flags & (SYN | ACK) == SYN and not direction == responder",
    "seen > 3 and side.retransmissions * 100 / peer.packets >= 2",
    "flow.age % 1s < 10ms or data[data.length - 1] == 10",
    "source_port in (1..1023, 8080) and -ttl + 64 < 5",
]

Seeds = Iterator[bytes]


def link_byte(frame: Frame) -> bytes:
    """How an input says which link type it is of."""
    known = frame.link_type in LINK_TYPES
    return bytes([LINK_TYPES.index(frame.link_type) if known else len(LINK_TYPES) - 1])


def whole_files(capture: Path) -> Seeds:
    """The capture itself, as far as an input reaches."""
    yield capture.read_bytes()[:LARGEST]


def single_frames(capture: Path) -> Seeds:
    """The first frame of each length."""
    by_length = {len(frame.data): frame for frame in islice(frames_of(capture), FRAMES)}
    for frame in by_length.values():
        yield link_byte(frame) + frame.data


def packets(capture: Path) -> Seeds:
    """Runs of frames as fuzz/packets.c takes them."""
    parts, size, before = [b"\0"], 1, 0
    count = 0
    for frame in islice(frames_of(capture), FRAMES):
        time = frame.time or 0
        waited = min(max(time - before, 0) // TEN_SECONDS, 255) if before else 0
        part = len(frame.data).to_bytes(2) + bytes([waited]) + frame.data
        if len(frame.data) > LARGEST:
            continue
        if size + len(part) > LARGEST:
            yield b"".join(parts)
            parts, size, count = [b"\0"], 1, count + 1
        if count == INPUTS:
            return
        parts[0] = link_byte(frame)
        parts.append(part)
        size += len(part)
        before = time
    yield b"".join(parts)


def filters(capture: Path) -> Seeds:
    """An expression, a zero byte, an IP packet out of Ethernet."""
    for number, frame in enumerate(islice(frames_of(capture), 20)):
        if frame.link_type == 1:
            expression = EXPRESSIONS[number % len(EXPRESSIONS)]
            yield expression.encode() + b"\0" + frame.data[14:270]


def programs(_: Path) -> Seeds:
    """Compiled conditions, each with an entry and its data, as fuzz/condition.c takes them."""
    catalog = built_in()
    packet = catalog.resolve("packet")
    for condition in CONDITIONS:
        program = compile_rule(Rule(condition, {"seen": "true"}, 2), packet, catalog)
        head = struct.pack("=HBB4xQ", program.step_count, program.counters, 8, 1_000_000)
        yield head + bytes(ENTRY_SIZE) + b"GET / HT".ljust(255, b"\0") + program.octets


SEEDS: dict[str, Callable[[Path], Seeds]] = {
    "capture": whole_files,
    "decode": single_frames,
    "packets": packets,
    "filter": filters,
    "condition": programs,
}


def main() -> None:
    """Writes the inputs, once."""
    target, directory = sys.argv[1], Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    cut = SEEDS.get(target)
    if cut is None or any(directory.iterdir()):
        return
    captures = [*corpus(), *sorted((ROOT / "captures").glob("*.pcap"))]
    seeds = {seed for capture in captures for seed in cut(capture)}
    for number, seed in enumerate(sorted(seeds)):
        (directory / f"{number:05}").write_bytes(seed)
    print(f"fuzz: {len(seeds)} inputs for {target} from {len(captures)} captures")


if __name__ == "__main__":
    main()
