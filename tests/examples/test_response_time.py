"""The example module: built from the installed headers alone, named in a chain, read by an NF; and
what a chain says of a module that it cannot use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from microbox import Event, NetworkFunction, on
from microbox.testing import run_nf

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "modules"
MICROBOX = Path(sys.executable).with_name("microbox")

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


def microbox(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MICROBOX, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def build(folder: Path, name: str, source: str) -> None:
    """Builds `name`.so as its author would: with the installed headers, linked to nothing."""
    (folder / f"{name}.c").write_text(source)
    headers = microbox(folder, "include").stdout.strip()
    command = ["cc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-I{headers}"]
    subprocess.run([*command, "-o", f"{name}.so", f"{name}.c"], cwd=folder, check=True)


@pytest.fixture
def folder(tmp_path: Path, demo: Path) -> Path:
    """The example's files, and the demo capture."""
    build(tmp_path, "response_time", (EXAMPLE / "response_time.c").read_text())
    shutil.copy(EXAMPLE / "response_log.py", tmp_path)
    text = (EXAMPLE / "chain.yaml").read_text().replace("../../captures/demo.pcap", str(demo))
    (tmp_path / "chain.yaml").write_text(text)
    return tmp_path


class Answers(NetworkFunction):
    """What the module does, said again in Python, over the segments of each flow."""

    flow_state = dict

    def start(self) -> None:
        self.found: list[tuple[int, int, int]] = []

    @on("packet.ip.tcp")
    def look(self, event: Event) -> None:
        size = len(event.data)
        if not size:
            return
        state = event.flow.state
        is_request = event.direction == 0
        if is_request:
            asked = 0 if state.get("asked_at") is None else state["bytes"]
            state.update(asked_at=event.time, bytes=asked + size)
        elif state.get("asked_at") is not None:
            self.found.append((event.flow.id, event.time - state["asked_at"], state["bytes"]))
            state["asked_at"] = None


def test_its_events_reach_an_nf(folder: Path, demo: Path) -> None:
    ran = microbox(folder, "run", "chain.yaml", "-w", "logs")
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in (folder / "logs/response_log.jsonl").open()]
    assert len(lines) > 100
    found = [(one["flow_id"], one["microseconds"], one["request_bytes"]) for one in lines]
    model = run_nf(Answers, demo).nf
    assert isinstance(model, Answers)
    assert found == [(flow, time // 1000, size) for flow, time, size in model.found]


def test_check_says_which_module_runs_for_whom(folder: Path) -> None:
    plan = json.loads(microbox(folder, "check", "chain.yaml", "--json").stdout)
    modules = {one["name"]: one for one in plan["modules"]}
    assert modules["response_time"]["because"] == ["response_log: tcp.response"]
    assert modules["response_time"]["file"].endswith("response_time.so")
    assert "response_log: tcp.response" in modules["tcp.monitor"]["because"]
    shown = microbox(folder, "check", "chain.yaml").stdout
    assert "from response_time.so" in shown


# --- modules that cannot be used ---

TYPE = '{.name = "%s", .sentence = "Odd.", .fields = {%s}}'
SOURCE = """
#include "microbox/include/microbox.h"
%s
static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *decoded, unsigned direction) {
    (void)stack, (void)flow, (void)decoded, (void)direction;
}
static const struct mb_module_type types[] = {%s};
const struct mb_module microbox_module = {
    .abi = MB_MODULE_ABI, .name = "odd", .sentence = "Odd.", .transport = MB_TRANSPORT_TCP,
    .packet = packet, .types = types, .type_count = 1,
};
"""
CRASH = "__attribute__((constructor)) static void crash(void) { __builtin_trap(); }"


@pytest.mark.parametrize(
    ("before", "name", "fields", "sentence"),
    [
        (CRASH, "flow.tcp.odd", "", "opening it ended its process with SIG"),
        ("", "flow.tcp.start", "", "event type 'flow.tcp.start' exists already"),
        ("", "flow.nowhere.odd", "", "event type 'flow.nowhere.odd' has no parent"),
        (
            "",
            "flow.tcp.data.odd",
            '{"a", "u64"}',
            "the payload of 'flow.tcp.data.odd' is 64 bytes long; expected at most 56",
        ),
    ],
    ids=["crashes", "takes a name", "has no parent", "is too long"],
)
def test_a_module_that_cannot_be_used_is_said_with_its_place(
    folder: Path, before: str, name: str, fields: str, sentence: str
) -> None:
    build(folder, "response_time", SOURCE % (before, TYPE % (name, fields)))
    for verb in ("check", "run"):
        ran = microbox(folder, verb, "chain.yaml")
        assert ran.returncode == 2, ran.stderr
        assert "chain.yaml:10:13: module 'response_time.so' cannot be used: " in ran.stderr
        assert sentence in ran.stderr


def test_a_module_that_is_not_there_is_said_with_its_place(folder: Path) -> None:
    (folder / "response_time.so").rename(folder / "response_times.so")
    ran = microbox(folder, "check", "chain.yaml")
    assert ran.returncode == 2
    assert "chain.yaml:10:13: 'response_time.so' does not exist" in ran.stderr
    assert "did you mean 'response_times.so'?" in ran.stderr


def test_what_is_no_shared_object_is_said_to_be_none(folder: Path) -> None:
    (folder / "response_time.so").write_text("text")
    ran = microbox(folder, "check", "chain.yaml")
    assert ran.returncode == 2
    assert "cannot be used" in ran.stderr
