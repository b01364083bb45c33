"""`on_worker_failure: restart`: another worker goes on behind the packets that a dead one handled,
with fresh flows and fresh NFs; what both did adds up."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microbox._core import ffi, lib

if TYPE_CHECKING:
    from tests.conftest import Workbench

PACKETS = 10_587  # of demo.pcap
OUTPUT = "passed.pcap"
ATTEMPTS = 1
RESTART = {"backoff": "10ms", "attempts": ATTEMPTS}

# Drops every fifth UDP packet, and stands still until there is `go`, or a `go` for this process.
HOLD = """
from microbox import DROP
class Hold(NetworkFunction):
    inline = True
    seen = dropped = 0
    at: int = 6000  # packets
    @on("packet.ip.udp")
    def judge(self, event):
        self.seen += 1
        if event.packet >= self.at:
            self.wait()
        self.dropped += self.seen % 5 == 0
        return DROP if self.seen % 5 == 0 else None
    def wait(self):
        go = ["go", f"go.{os.getpid()}"]
        if not any(map(os.path.exists, go)):
            with open("held.new", "w") as held:
                held.write(str(os.getpid()))
            os.rename("held.new", "held")
        while not any(map(os.path.exists, go)):
            time.sleep(0.001)
    def finish(self):
        return {"dropped": self.dropped}
"""

WITNESS = """
class Witness(NetworkFunction):
    packets = 0
    @on("packet", "flow.start", "tcp.data")
    def see(self, event):
        self.packets += event.name.startswith("packet")
        self.record(event, name=event.name, packet=event.packet, flow=event.flow.id)
    def finish(self):
        return {"packets": self.packets, "all": [self.packets]}
"""


def chain_of(workbench: Workbench, capture: Path, *more: Any, **keys: Any) -> Path:
    return workbench.chain(
        workbench.nf("witness", WITNESS),
        workbench.nf("hold", HOLD),
        "flow_log",
        *more,
        capture=capture,
        output=OUTPUT,
        log={"slots": 4096},
        **{"on_worker_failure": RESTART, **keys},
    )


def kill_worker(workbench: Workbench, *, again: bool = False) -> None:
    """While it waits for `hold`, which goes on then. `again`: the next one stands still too."""
    held = workbench.folder / "held"
    hold = workbench.wait_for(held)
    os.kill(workbench.worker(), signal.SIGKILL)
    held.unlink()
    (workbench.folder / (f"go.{hold}" if again else "go")).touch()


def frames_in(capture: Path) -> int:
    """As far as it can be read; all of it has to be."""
    error = ffi.new("char[]", lib.MB_ERROR_SIZE)
    with capture.open("rb") as file:
        source = lib.mb_source_open(file.fileno(), b"output", error)
        count = int(lib.mb_source_skip(source, 1 << 40))
        assert lib.mb_source_status(source) == lib.MB_SOURCE_END
        lib.mb_source_close(source)
    return count


def packets_in(lines: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Number and type of each event that is a packet: of a whole datagram there are two."""
    return [(line["packet"], line["name"]) for line in lines if line["name"].startswith("packet")]


def undisturbed(workbench: Workbench, chain: Path) -> list[tuple[int, str]]:
    """What `witness` sees of packets."""
    (workbench.folder / "go").touch()
    assert workbench.run("run", chain, "--overwrite").returncode == 0
    (workbench.folder / "go").unlink()
    return packets_in(workbench.log("witness"))


def check_balances(summary: dict[str, Any]) -> None:
    for balance in summary["balances"]:
        assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"]), balance


def test_another_worker_goes_on_and_no_event_is_lost_or_comes_twice(
    workbench: Workbench, demo: Path
) -> None:
    chain = chain_of(workbench, demo)
    whole = undisturbed(workbench, chain)
    process = workbench.start("run", chain, "--overwrite")
    kill_worker(workbench)
    result = workbench.end(process)
    assert result.returncode == 0, result.stderr
    summary = workbench.summary()
    lines = workbench.log("witness")
    assert packets_in(lines) == whole

    (warning,) = summary["warnings"]
    died = int(warning.split("behind packet ")[1].split()[0].replace(",", ""))
    assert f"the worker was killed by SIGKILL behind packet {died:,}; another one" in result.stderr
    assert f"another worker goes on behind packet {died:,}" in result.stderr
    assert 6000 <= died < PACKETS
    later = [line for line in lines if line["packet"] > died]
    assert all(line["flow"] == 0 or line["flow"] > died for line in later)

    assert summary["input"]["packets"] == PACKETS
    assert {nf["outcome"] for nf in summary["nfs"]} == {"finished"}
    assert {nf["restarts"] for nf in summary["nfs"]} == {0}
    witness = next(nf for nf in summary["nfs"] if nf["name"] == "witness")
    assert witness["summary"]["packets"] == sum(witness["summary"]["all"]) == len(whole)
    assert witness["records"] == len(lines)
    check_balances(summary)
    check_output(workbench, summary)
    assert workbench.processes() == {}


def check_output(workbench: Workbench, summary: dict[str, Any]) -> None:
    """It goes on, and what it lacks is counted."""
    written = frames_in(workbench.folder / OUTPUT)
    assert written == summary["output"]["packets"] > 0
    (balance,) = [one for one in summary["balances"] if one["name"] == "output"]
    lost = [part for part in balance["parts"] if part["is_loss"] and part["count"]]
    assert [part["what"] for part in lost] == ["that the worker had not written when it died"]
    dropped = sum(summary["nfs"][1]["gate"]["packets"].values())
    assert written == PACKETS - lost[0]["count"] - dropped


def test_one_that_dies_each_time_is_given_up(workbench: Workbench, demo: Path) -> None:
    process = workbench.start("run", chain_of(workbench, demo))
    for _ in range(1 + ATTEMPTS):
        kill_worker(workbench, again=True)
    result = workbench.end(process)
    assert result.returncode == 1
    assert "another one starts in 0.01 s (1 of 1)" in result.stderr
    assert "given up after 1 restart; the run ends here" in result.stderr
    summary = workbench.summary()
    assert summary["ended"] == "failed"
    check_balances(summary)
    packets = [number for number, _ in packets_in(workbench.log("witness"))]
    assert packets == sorted(packets)
    assert sorted({*packets}) == list(range(1, summary["input"]["packets"] + 1))
    assert frames_in(workbench.folder / OUTPUT) == summary["output"]["packets"]


def test_ctrl_c_while_none_is_there_ends_the_run(workbench: Workbench, demo: Path) -> None:
    chain = chain_of(workbench, demo, on_worker_failure={"backoff": "1h", "backoff_max": "1h"})
    process = workbench.start("run", chain)
    assert process.stderr is not None
    kill_worker(workbench)
    assert "another one starts in 3600 s" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    result = workbench.end(process)
    assert result.returncode == 130
    assert workbench.summary()["ended"] == "interrupted"
    assert workbench.processes() == {}
