"""The stack against tshark, on the corpus of real captures where it is beside the checkout.

Every capture goes through the stack with everything subscribed. The number of TCP flows, and the
bytes of both sides of the streams that the oracle lists, have to equal what tshark found; what
deviates has to be explained in docs/oracle-deviations.md, and nothing else may be there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("MICROBOX_CORPUS", ROOT.parent / "shared" / "corpus"))
DEVIATIONS = ROOT / "docs" / "oracle-deviations.md"
CAPTURES_AT_LEAST = 0.97  # with as many TCP flows as the oracle has
STREAMS_AT_LEAST = 0.99  # of those that it lists, with equal bytes of both sides


def find_program() -> Path | None:
    """`dump_events`, from the newest build: `make check` builds it with sanitizers."""
    named = os.environ.get("MICROBOX_DUMP_EVENTS")
    if named:
        return Path(named)
    builds = [ROOT / place for place in ("build/sanitize/build", "build/test", "build")]
    built = [build / "tests" / "core" / "dump_events" for build in builds]
    return max((one for one in built if one.is_file()), key=_built_at, default=None)


def _built_at(file: Path) -> float:
    return file.stat().st_mtime


PROGRAM = find_program()

pytestmark = [
    pytest.mark.skipif(
        not (CORPUS / "oracle.json").is_file(), reason=f"no corpus in {CORPUS}: see MICROBOX_CORPUS"
    ),
    pytest.mark.skipif(PROGRAM is None, reason="dump_events is not built: meson compile -C build"),
]


@dataclass
class Stream:
    """One TCP flow as the stack saw it; `sides[0]` is what the originator sent."""

    endpoints: tuple[str, str]
    sides: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    gaps: int = 0

    def digests(self) -> tuple[str, str]:
        return hashlib.sha256(self.sides[0]).hexdigest(), hashlib.sha256(self.sides[1]).hexdigest()


def dump(capture: Path, *arguments: str) -> list[str]:
    assert PROGRAM is not None
    done = subprocess.run(
        [str(PROGRAM), str(capture), *arguments], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode().splitlines()


def streams_of(lines: list[str]) -> list[Stream]:
    streams: dict[str, Stream] = {}
    for line in lines:
        kind, _packet, flow, direction, _reason, *rest = line.split(" ")
        if kind == "flow.tcp.start":
            source, source_port, destination, destination_port = rest[:4]
            streams[flow] = Stream((f"{source}:{source_port}", f"{destination}:{destination_port}"))
        elif kind == "flow.tcp.data":
            side = streams[flow].sides[int(direction)]
            assert int(rest[0]) >= len(side), "bytes are given out in order"
            side += bytes.fromhex(rest[1])
        elif kind == "flow.tcp.gap":
            streams[flow].gaps += 1
    return list(streams.values())


def normal(endpoint: str) -> str:
    """tshark writes IPv6 endpoints as address:port too."""
    address, _, port = endpoint.rpartition(":")
    return f"{address.strip('[]')}:{port}"


def other_count(streams: list[Stream], facts: dict[str, Any]) -> list[str]:
    if len(streams) == facts["tcp_streams"]:
        return []
    return [f"{len(streams)} TCP flows, the oracle has {facts['tcp_streams']}"]


def other_streams(streams: list[Stream], facts: dict[str, Any]) -> list[str]:
    found = []
    ours: Counter[tuple[str, str, str, str]] = Counter()
    for stream in streams:
        first, second = stream.digests()
        a, b = stream.endpoints
        ours[(a, b, first, second)] += 1
        ours[(b, a, second, first)] += 1
    for listed in facts["streams"]:
        key = (normal(listed["node0"]), normal(listed["node1"]), listed["sha0"], listed["sha1"])
        if ours[key] == 0:
            found.append(
                f"stream {listed['stream']} {key[0]} > {key[1]} differs"
                f" (oracle: {listed['len0']} and {listed['len1']} bytes)"
            )
    return found


def explained() -> set[str]:
    return set(re.findall(r"^\| `([^`]+)`", DEVIATIONS.read_text(), flags=re.MULTILINE))


def test_captures_agree_with_the_oracle() -> None:
    oracle = json.loads((CORPUS / "oracle.json").read_text())
    deviating: dict[str, list[str]] = {}
    counts = streams = 0
    for name, facts in oracle.items():
        ours = streams_of(dump(CORPUS / "dev" / name))
        count, other = other_count(ours, facts), other_streams(ours, facts)
        counts += len(count)
        streams += len(other)
        if count or other:
            deviating[name] = count + other
    listed = sum(len(facts["streams"]) for facts in oracle.values())
    report = "\n".join(f"{name}: {'; '.join(found)}" for name, found in deviating.items())
    report += f"\n{counts} of {len(oracle)} captures and {streams} of {listed} streams deviate"
    print(report)
    assert counts <= (1 - CAPTURES_AT_LEAST) * len(oracle), report
    assert streams <= (1 - STREAMS_AT_LEAST) * listed, report
    assert set(deviating) == explained(), report


@pytest.mark.parametrize("arguments", [("0", "1"), ("0", "7")])
def test_events_do_not_depend_on_hash_key_or_batch_size(arguments: tuple[str, ...]) -> None:
    """Each run has another random key."""
    for capture in sorted((CORPUS / "dev").iterdir())[::12]:
        assert dump(capture) == dump(capture, *arguments), capture.name


def test_a_full_flow_table_is_survived() -> None:
    for capture in sorted((CORPUS / "dev").iterdir())[::12]:
        lines = dump(capture, "2")
        assert lines[-1].startswith("system.end_of_input"), capture.name
