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
TEN_SECONDS = 10_000_000_000
# As fuzz/stack_settings.h reads them: one run of frames out of a capture for each.
SETTINGS = (bytes(4), bytes([1, 8, 24, 3]), bytes([62, 8, 5, 18]), bytes([124, 8, 34, 29]))
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


def streams(capture: Path) -> Seeds:
    """As fuzz/stream.c takes it: the capture, then how long the pieces are that it comes in."""
    for piece in (0, 3, 255):
        yield capture.read_bytes()[: LARGEST - 8] + bytes([piece, *range(7)])


def single_frames(capture: Path) -> Seeds:
    """The first frame of each length."""
    by_length = {len(frame.data): frame for frame in islice(frames_of(capture), FRAMES)}
    for frame in by_length.values():
        yield link_byte(frame) + frame.data


def frame_part(frame: Frame, before: int) -> bytes:
    """A frame as fuzz/packets.c takes it."""
    waited = max((frame.time or 0) - before, 0) // TEN_SECONDS if before else 0
    return len(frame.data).to_bytes(2) + bytes([min(waited, 255)]) + frame.data


def packets(capture: Path) -> Seeds:
    """Runs of frames, each run with other settings."""
    frames = [frame for frame in islice(frames_of(capture), FRAMES) if len(frame.data) < LARGEST]
    settings = iter(SETTINGS)
    seed = b""
    before = 0
    for frame in frames:
        part = frame_part(frame, before)
        if not seed or len(seed) + len(part) > LARGEST:
            head = next(settings, None)
            if seed:
                yield seed
            if head is None:
                return
            seed = head + link_byte(frame)
        seed += part
        before = frame.time or 0
    if seed:
        yield seed


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


def edited_frames(capture: Path) -> Seeds:
    """Frames with an edit of all fields and of some bytes, as fuzz/packet_edit.c takes them."""
    edit = bytearray(range(128))
    edit[20:24] = struct.pack("=I", 0x1FFF)
    replacements = struct.pack("=6I", 60, 5, 54, 1, 70, 16)
    for frame in single_frames(capture):
        yield bytes(edit) + replacements + frame


SEEDS: dict[str, Callable[[Path], Seeds]] = {
    "capture": whole_files,
    "stream": streams,
    "decode": single_frames,
    "packet_edit": edited_frames,
    "translation": single_frames,
    "packets": packets,
    "filter": filters,
    "condition": programs,
}


def main() -> None:
    """Writes the inputs, in the place of those of before."""
    target, directory = sys.argv[1], Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    cut = SEEDS.get(target)
    if cut is None:
        return
    for old in directory.iterdir():
        old.unlink()
    captures = [*corpus(), *sorted((ROOT / "captures").glob("*.pcap"))]
    seeds = {seed for capture in captures for seed in cut(capture)}
    for number, seed in enumerate(sorted(seeds)):
        (directory / f"{number:05}").write_bytes(seed)


if __name__ == "__main__":
    main()
