"""An NF that holds up its chain until a test lets it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Workbench

WAITING = """
class Waiting(NetworkFunction):
    @on("packet")
    def see(self, event):
        open("going", "a").write(".")
        while not os.path.exists("go"):
            time.sleep(0.01)
"""


def wait_until_it_waits(bench: Workbench) -> None:
    """A first packet has come to it."""
    bench.wait_for(bench.folder / "going")


def let_it_go_on(bench: Workbench) -> None:
    """With this packet, and all others."""
    (bench.folder / "go").touch()
