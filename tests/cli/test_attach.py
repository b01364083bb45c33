"""`microbox attach` in a real terminal: print, a debugger, Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from terminal import Terminal

from microbox.nf.debugger import Debugger, Turn
from tests.conftest import Workbench

WATCH = """
class Watch(NetworkFunction):
    seen = 0
    @on("packet")
    def see(self, event):
        self.seen += 1
        if self.seen == 1:
            print("first packet", file=sys.stderr)
        ACT
    def finish(self):
        return {"seen": self.seen}
"""


Attach = Callable[[str], Terminal]
"""Of an NF that does this with each packet."""


@pytest.fixture(scope="module", params=[1, 2])
def workers(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, demo: Path, workers: int
) -> Iterator[Workbench]:
    bench = Workbench(tmp_path_factory.mktemp("attach"))
    chain = bench.chain("flow_log", capture=demo, workers=workers)
    run = bench.start("run", chain, "--pace", "0.1")
    bench.until(lambda: run.poll() is not None or "packets" in bench.run("ps").stdout)
    yield bench
    bench.run("stop")
    result = bench.end(run)
    bench.clean_up()
    assert result.returncode == 128 + signal.SIGTERM, result.stderr
    assert "leaves, after event" in result.stderr


@pytest.fixture
def attach(bench: Workbench) -> Iterator[Attach]:
    terminals = []

    def attached(act: str) -> Terminal:
        terminal = Terminal(bench, "attach", bench.nf("watch", WATCH.replace("ACT", act)))
        terminals.append(terminal)
        return terminal

    yield attached
    for terminal in terminals:
        terminal.close()


def test_what_it_prints_appears_and_ctrl_c_ends_it_in_order(attach: Attach) -> None:
    terminal = attach("print('number', self.seen)")
    shown = terminal.wait_for("number 2\r\n")
    assert "first packet\r\n" in shown
    if "watch is attached, from event" not in shown:  # which is said when all workers have it
        terminal.wait_for("watch is attached, from event")
    terminal.type("\x03")
    terminal.wait_for("leaves the chain (once more to end at once)")
    terminal.wait_for("left: saw ")
    terminal.wait_for("seen ")
    assert terminal.process.wait(10) == 0


def test_a_debugger_can_be_used(attach: Attach, workers: int) -> None:
    if workers > 1:
        pytest.skip("their debuggers take turns: see below")
    terminal = attach("if self.seen == 1: breakpoint()\n        print('number', self.seen)")
    terminal.wait_for("(Pdb) ")
    terminal.type("p event.packet > 0, self.seen\n")
    terminal.wait_for("(True, 1)")
    terminal.wait_for("(Pdb) ")
    terminal.type("self.seen = 10_000_000\n")
    terminal.wait_for("(Pdb) ")
    terminal.type("continue\n")
    terminal.wait_for("number 10000001\r\n")
    terminal.type("\x03")
    terminal.wait_for("seen 10,0")
    assert terminal.process.wait(10) == 0


def test_the_debuggers_of_several_workers_take_turns(attach: Attach, workers: int) -> None:
    if workers == 1:
        pytest.skip("there is one")
    terminal = attach("if self.seen == 1: breakpoint()\n        print('number', self.seen)")
    turns = set()
    for _ in range(workers):
        # What the other one prints may come within a prompt, which is written by the character, but
        # not within a line.
        terminal.wait_for("-> ")
        terminal.type("p 'turn', os.getpid(), self.seen\n")
        terminal.wait_for("('turn', ")
        turns.add(terminal.wait_for(", 1)"))
        terminal.type("self.seen = 10_000_000; print('now', self.seen)\n")
        terminal.wait_for("now 10000000\r\n")
        terminal.type("continue\n")
    assert len(turns) == workers
    terminal.wait_for("number 10000002\r\n")
    terminal.type("\x03")
    terminal.wait_for("seen 20,0")
    assert terminal.process.wait(10) == 0


def test_the_prompt_says_whose_it_is() -> None:
    assert Debugger(Turn(0, "worker 2")).prompt == "(worker 2) "


def test_input_can_be_read(attach: Attach, workers: int) -> None:
    terminal = attach("self.seen == 1 and print('hello', input('name? '))")
    for _ in range(workers):  # by turns
        terminal.wait_for("name? ")
        terminal.type("you\n")
        terminal.wait_for("hello you\r\n")
    terminal.type("\x03")
    assert terminal.process.wait(10) == 0


def test_ctrl_c_twice_ends_it_wherever_it_is(attach: Attach) -> None:
    terminal = attach("time.sleep(3600)")
    terminal.wait_for("first packet")
    terminal.type("\x03")
    terminal.wait_for("leaves the chain (once more to end at once)")
    terminal.type("\x03")
    assert terminal.process.wait(10) == 128 + signal.SIGINT
