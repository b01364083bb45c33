"""A disk that is full: the run goes on, ends in order, and says what is missing."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Workbench

# Mounts a small file system where the first argument says, in a mount namespace of its own.
ON_A_SMALL_DISK = 'mount -t tmpfs -o size=64k small "$1" && shift && exec "$@"'

LOUD = """
class Loud(NetworkFunction):
    @on("packet")
    def see(self, event):
        if event.fragments == 0:
            self.record(event, filling="x" * 500)
"""

LOUD_IN_C = """
#include "microbox/include/microbox_nf.h"
static enum mb_verdict see(struct mb_nf *nf, const struct mb_event *event) {
    char filling[500];
    memset(filling, 'x', sizeof filling);
    if (MB_PAYLOAD(event, struct mb_packet)->fragments == 0)
        mb_record(nf, event, mb_bytes("filling", filling, sizeof filling));
    return MB_PASS;
}
const struct mb_nf_descriptor microbox_nf = {
    .abi = MB_NF_ABI,
    .name = "loud",
    .handlers = {{.name = "see", .types = {"packet"}, .call = see}},
};
"""

QUIET = """
class Quiet(NetworkFunction):
    seen = 0
    @on("packet")
    def see(self, event):
        self.seen += event.fragments == 0
    def finish(self):
        return {"seen": self.seen}
"""


@pytest.fixture
def small_disk(workbench: "Workbench") -> Path:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can mount a small file system")
    disk = workbench.folder / "small"
    disk.mkdir()
    command = [*map(str, on(disk)), "true"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    return disk


def on(disk: Path) -> list[object]:
    return ["unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, "sh", disk]


@pytest.mark.parametrize("language", ["py", "c"])
def test_logs_on_a_full_disk_lose_lines_and_say_how_many(
    workbench: "Workbench", small_disk: Path, demo: Path, language: str
) -> None:
    (workbench.folder / "loud.c").write_text(LOUD_IN_C)
    workbench.nf("loud", LOUD)
    entries = (f"./loud.{language}", workbench.nf("quiet", QUIET))
    chain = workbench.chain(*entries, capture=demo)
    result = workbench.run("run", chain, "-w", small_disk, "--json", prefix=on(small_disk))
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert report["ended"] == "finished"
    loud, quiet = report["nfs"]
    assert loud["records_lost"] > 0
    packets = report["input"]["packets"]
    assert loud["records"] + loud["records_lost"] == packets
    assert quiet["summary"] == {"seen": packets}
    assert f"loud: {loud['records_lost']:,} lines of its log are lost" in result.stderr
    assert report["lost"] == loud["records_lost"]
    assert workbench.processes() == {}


def test_an_output_on_a_full_disk_lacks_packets_and_says_how_many(
    workbench: "Workbench", small_disk: Path, demo: Path
) -> None:
    chain = workbench.chain(
        workbench.nf("quiet", QUIET), capture=demo, output=str(small_disk / "out.pcap")
    )
    result = workbench.run("run", chain, "--json", prefix=on(small_disk))
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert report["output"]["lost"] > 0
    packets = report["input"]["packets"]
    assert report["output"]["packets"] + report["output"]["lost"] == packets
    assert "No space left on device" in result.stderr
    assert report["nfs"][0]["summary"] == {"seen": packets}
