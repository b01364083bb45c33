"""An NF that lies in its own shared memory: the worker finds it out, the controller ends it and
says why, and the others read on."""

from typing import TYPE_CHECKING

import pytest

from microbox.channel.messages import Accused
from microbox.runtime.processes.validation import from_child

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Workbench

COUNT = """
class Count(NetworkFunction):
    @on("packet")
    def see(self, event):
        self.record(event, packet=event.packet)
"""

# Does something to its own page or verdicts at packet 10, and hangs later.
LIAR = """
import gc
from microbox import DROP
from microbox._core import ffi, lib
from microbox.nf.reader import Reader

class Liar(NetworkFunction):
    inline = True
    @on("packet")
    def see(self, event):
        if event.packet == 10:
            reader = next(one for one in gc.get_objects() if isinstance(one, Reader))
            counters = ffi.cast("uint8_t *", reader.counters)
            page = ffi.cast("struct mb_nf_page *", counters - lib.MB_PAGE_SIZE)
            verdicts = counters + 2 * lib.MB_PAGE_SIZE
            {lie}
        if event.packet == 9000:
            time.sleep(60)
"""
LIES = {
    "a cursor beyond the head": (
        "page.cursor = 2**64 - 1; time.sleep(60)",
        "its cursor is 18446744073709551615, beyond the last event, which is before ",
    ),
    "a verdict that is none": (
        "ffi.memmove(verdicts, bytes([255]) * reader.log_slots, reader.log_slots)",
        "it gave the verdict 255; the largest is ",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_it_is_ended_with_what_it_did(workbench: "Workbench", demo: "Path", lie: str) -> None:
    code, words = LIES[lie]
    liar = {"nf": workbench.nf("liar", LIAR.replace("{lie}", code)), "on_failure": "open"}
    count = {"nf": workbench.nf("count", COUNT), "after": []}
    chain = workbench.chain(liar, count, capture=demo, log={"slots": 4096})
    result = workbench.run("run", chain)
    assert result.returncode == 1
    said = f"liar broke the protocol of shared memory and was killed: {words}"
    assert said in result.stderr
    assert "; the rest of the chain goes on" in result.stderr
    summary = workbench.summary()
    read = {one["packet"] for one in workbench.log("count")}
    assert read == set(range(1, summary["input"]["packets"] + 1))
    assert workbench.processes() == {}


SHOUT = """
class Shout(NetworkFunction):
    @on("packet")
    def see(self, event):
        self.alert(event, "packet")
"""


def test_a_broken_log_is_left_out_and_the_rest_goes_on(
    workbench: "Workbench", demo: "Path"
) -> None:
    lie = LIAR.replace("inline = True", 'publishes = ["alert"]')
    lie = lie.replace("{lie}", "page.log_head = 2**40").replace("time.sleep(60)", "pass")
    liar, shout = workbench.nf("liar", lie), workbench.nf("shout", SHOUT)
    result = workbench.run("run", workbench.chain(shout, liar, "alert_log", capture=demo))
    assert result.returncode == 0
    assert "alert_log: what liar publishes is not what it should be" in result.stderr
    alerts = {nf["name"]: nf["alerts"] for nf in workbench.summary()["nfs"]}
    assert len(workbench.log("alert_log")) == alerts["shout"]


def test_only_a_sound_accusation_is_a_message() -> None:
    assert from_child({"kind": "accused", "index": 3, "why": "it lies"}) == Accused(3, "it lies")
