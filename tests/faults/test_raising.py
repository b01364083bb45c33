"""NFs that raise: at their import, at their start, in a handler, in finish()."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Workbench

RAISING = """
class Raising(NetworkFunction):
    @on("packet")
    def see(self, event):
        if event.packet % 4 == 0:
            raise KeyError("seven")
        self.record(event, number=event.packet)
    def finish(self):
        return {"finished": True}
"""

COUNT = """
class Count(NetworkFunction):
    seen = 0
    @on("packet")
    def see(self, event):
        self.seen += 1
    def finish(self):
        return {"seen": self.seen}
"""


def test_with_stop_the_chain_ends_and_shows_what_it_has(workbench: "Workbench") -> None:
    chain = workbench.chain(workbench.nf("raising", RAISING), workbench.nf("count", COUNT))
    result = workbench.run("run", chain)
    assert result.returncode == 1
    assert "error: raising in see(): KeyError: 'seven'" in result.stderr
    assert 'raise KeyError("seven")' in result.stderr
    assert "packet 4" in result.stderr
    summary = workbench.summary()
    assert summary["ended"] == "failed"
    assert "KeyError" in summary["error"]
    assert summary["nfs"][1]["outcome"] == "finished"
    assert workbench.processes() == {}


def test_with_skip_it_goes_on_and_the_events_are_counted(workbench: "Workbench") -> None:
    raising = {"nf": workbench.nf("raising", RAISING), "on_error": "skip"}
    result = workbench.run("run", workbench.chain(raising, workbench.nf("count", COUNT)))
    assert result.returncode == 0
    assert "KeyError: 'seven'" in result.stderr
    summary = workbench.summary()
    assert summary["nfs"][0]["raised"] == 3
    assert summary["nfs"][0]["summary"] == {"finished": True}
    assert [record["number"] for record in workbench.log("raising")] == [
        number for number in range(1, 13) if number % 4
    ]
    assert summary["lost"] == 3
    assert "handlers of raising: 12 calls = 9 returned + 3 that raised" in result.stdout


def test_an_nf_that_cannot_be_imported_stops_everything_before_it_starts(
    workbench: "Workbench",
) -> None:
    broken = workbench.nf("broken", "import no_such_module\n")
    other = workbench.nf("other", "syntax error here\n")
    result = workbench.run("run", workbench.chain(broken, other))
    assert result.returncode == 2
    assert "no_such_module" in result.stderr
    assert "broken.py:3:1: " in result.stderr
    assert "other.py:3:8: " in result.stderr
    assert not (workbench.folder / "microbox-logs").exists()
    assert workbench.processes() == {}


def test_an_nf_that_raises_in_start_is_named_with_its_traceback(workbench: "Workbench") -> None:
    failing = """
class Failing(NetworkFunction):
    def start(self):
        raise ValueError("no rules")
    @on("packet")
    def see(self, event): pass
"""
    result = workbench.run("run", workbench.chain(workbench.nf("failing", failing)))
    assert result.returncode == 1
    assert "failing failed: ValueError: no rules" in result.stderr
    assert 'raise ValueError("no rules")' in result.stderr
    assert result.stderr.count("  File ") == 1  # no frames of the runtime
    assert workbench.processes() == {}


def test_an_nf_that_raises_in_finish_fails_the_run_but_keeps_its_log(
    workbench: "Workbench",
) -> None:
    failing = """
class Failing(NetworkFunction):
    @on("packet")
    def see(self, event):
        self.record(event, number=event.packet)
    def finish(self):
        return 1 / 0
"""
    result = workbench.run("run", workbench.chain(workbench.nf("failing", failing)))
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr
    assert len(workbench.log("failing")) == 12


def test_what_an_nf_prints_appears_with_its_name(workbench: "Workbench") -> None:
    printing = """
class Printing(NetworkFunction):
    @on("packet")
    def see(self, event):
        if event.packet == 1:
            print("first \\x1b[31mpacket")
            print("careful", file=sys.stderr)
"""
    result = workbench.run("run", workbench.chain(workbench.nf("printing", printing)))
    assert result.returncode == 0
    assert "printing: first \N{REPLACEMENT CHARACTER}[31mpacket\n" in result.stdout
    assert "printing: careful\n" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr


def test_a_wrong_use_is_shown_where_the_nf_does_it(workbench: "Workbench") -> None:
    wrong = """
class Wrong(NetworkFunction):
    @on("packet")
    def see(self, event):
        self.record(event, value=object())
"""
    result = workbench.run("run", workbench.chain(workbench.nf("wrong", wrong)))
    assert result.returncode == 1
    assert "self.record(event, value=object())" in result.stderr
    assert result.stderr.count("  File ") == 1
    assert "TypeError" not in result.stderr
