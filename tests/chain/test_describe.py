"""What NFs are, asked of their own processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from microbox.chain.describe import Answer, NotDescribed, describe_all
from microbox.chain.model import ChainNF
from microbox.channel.messages import Manifest
from microbox.channel.wire import from_wire

Described = Callable[..., list[Answer]]

GOOD = """
from microbox import NetworkFunction, on

class Good(NetworkFunction):
    '''A good one.'''
    threshold: int = 3

    @on("tcp.start")
    def begin(self, event):
        pass
"""


@pytest.fixture
def described(tmp_path: Path) -> Described:
    """Writes NFs with these texts and describes them together."""

    def describe_texts(*texts: str, seconds: float = 30.0) -> list[Answer]:
        nfs = []
        for number, text in enumerate(texts):
            source = tmp_path / f"nf{number}.py"
            source.write_text(text)
            nfs.append(ChainNF(f"nf{number}", source))
        return describe_all(nfs, from_wire, seconds)

    return describe_texts


def test_answers_come_in_the_order_of_the_nfs(described: Described) -> None:
    good, none, also_good = described(GOOD, "value = 1\n", GOOD)
    assert isinstance(good, Manifest)
    assert (good.class_name, good.doc, good.parameters[0].name) == (
        "Good",
        "A good one.",
        "threshold",
    )
    assert isinstance(none, NotDescribed)
    assert "defines no NF" in none.error
    assert isinstance(also_good, Manifest)


def test_an_nf_that_prints_when_it_is_loaded_disturbs_nobody(described: Described) -> None:
    (loud,) = described("import os\nos.write(1, b'x' * 1_000_000)\n" + GOOD)
    assert isinstance(loud, Manifest)


def test_an_nf_that_waits_for_ever_is_given_up(described: Described) -> None:
    began = time.monotonic()
    waits, good = described("import time\ntime.sleep(600)\n", GOOD, seconds=3.0)
    assert waits == NotDescribed("it was not loaded in time", "does it wait for something?")
    assert time.monotonic() - began < 30
    assert isinstance(good, Manifest)


def test_an_nf_whose_process_dies_leaves_its_last_words(described: Described) -> None:
    (dead,) = described("import os\nprint('the end', flush=True)\nos.kill(os.getpid(), 9)\n")
    assert dead == NotDescribed("its process ended with status -9", "", "the end\n")


def test_what_raises_is_shown_with_its_line(described: Described) -> None:
    (raises,) = described("def f():\n    raise ValueError('no')\n\nf()\n")
    assert isinstance(raises, NotDescribed)
    assert raises.line == 2
    assert raises.error.endswith("ValueError: no")
    assert "in f" in raises.traceback


def test_what_a_definition_says_of_itself_needs_no_traceback(described: Described) -> None:
    (wrong,) = described(GOOD.replace('"tcp.start"', '"tcp.strat"'))
    assert isinstance(wrong, NotDescribed)
    assert wrong.line == 8
    assert wrong.traceback == ""


PRINTS = """
import os, sys
sys.stdout.write("ä" * 1_000_000 + "the end")
sys.stdout.flush()
os._exit(3)
"""


def test_of_what_a_dead_process_printed_the_end_is_shown(described: Described) -> None:
    (answer,) = described(PRINTS)
    assert isinstance(answer, NotDescribed)
    assert answer.error == "its process ended with status 3"
    assert answer.traceback == "ä" * 1993 + "the end"


PRINTS_FOR_EVER = """
while True:
    print("x" * 1_000_000)
"""


def test_one_that_prints_for_ever_does_not_fill_the_disk(described: Described) -> None:
    (answer,) = described(PRINTS_FOR_EVER)
    assert isinstance(answer, NotDescribed)
    assert "File too large" in answer.error
