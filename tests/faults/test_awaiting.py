"""An NF that awaits something for long: the run still ends in order."""

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Workbench

AWAITS = """
import asyncio

class Awaits(NetworkFunction):
    async def start(self):
        self.seen = self.ticks = self.cancelled = 0
        self.create_task(self.tick())

    async def tick(self):
        while True:
            self.ticks += 1
            await asyncio.sleep(0.01)

    @on("packet")
    async def see(self, event):
        try:
            self.seen += 1
            before = self.ticks
            open("going", "a").write(".")
            await asyncio.sleep(SECONDS)
            assert self.ticks > before
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def finish(self):
        await asyncio.sleep(0.01)
        return {"seen": self.seen, "cancelled": self.cancelled, "ticks": self.ticks}
"""


def test_after_ctrl_c_what_is_left_is_awaited(workbench: "Workbench") -> None:
    code = AWAITS.replace("SECONDS", "0.1")
    process = workbench.start("run", workbench.chain(workbench.nf("awaits", code)))
    workbench.wait_for(workbench.folder / "going")
    process.send_signal(signal.SIGINT)
    result = workbench.end(process)
    nf = workbench.summary()["nfs"][0]
    assert (result.returncode, nf["outcome"]) == (130, "finished"), result.stderr
    assert nf["summary"]["seen"] == 12
    assert nf["summary"]["cancelled"] == 0
    assert nf["summary"]["ticks"] >= 12
    assert workbench.processes() == {}


def test_told_to_stop_a_handler_is_cancelled_and_finish_called(workbench: "Workbench") -> None:
    """As Ctrl-C does where the worker is dead."""
    code = AWAITS.replace("SECONDS", "1000")
    process = workbench.start("run", workbench.chain(workbench.nf("awaits", code)))
    assert process.stderr is not None
    workbench.wait_for(workbench.folder / "going")
    os.kill(workbench.worker(), signal.SIGKILL)
    assert "NFs read what it left" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    workbench.end(process)
    nf = workbench.summary()["nfs"][0]
    assert nf["outcome"] == "finished"
    assert (nf["summary"]["seen"], nf["summary"]["cancelled"]) == (1, 1)
    assert workbench.processes() == {}
