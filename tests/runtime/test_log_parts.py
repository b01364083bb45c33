"""Logs of several instances are one file at the end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from microbox.chain.model import ChainNF
from microbox.nf.records import RecordFile, RecordLog
from microbox.runtime.outputs.log_parts import log_name, merge_parts

IDS = ChainNF("ids", Path("ids.py")).instances(3, "flow")
PLACES = [[0, 5, 5, 17], [], [3, 16, 1 << 60]]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with the parts of a log; the second instance has none to write."""
    for nf, places in zip(IDS, PLACES, strict=True):
        file = RecordFile(tmp_path / log_name(nf), is_part=True)
        log = RecordLog(file, name="nf", tell=pytest.fail)
        for number, place in enumerate(places):
            log.write(0, None, {"by": nf.name, "place": place, "number": number}, place)
        log.close()
    return tmp_path


def merged(folder: Path) -> list[str]:
    return (folder / "ids.jsonl").read_text().splitlines()


def test_lines_are_in_the_order_of_their_places(parts: Path) -> None:
    assert merge_parts(parts, IDS) == []
    order = [("ids.1", 0), ("ids.3", 0), ("ids.1", 1), ("ids.1", 2), ("ids.3", 1), ("ids.1", 3)]
    order.append(("ids.3", 2))
    assert merged(parts) == [
        f'{{"timestamp": 0.000000000, "by": "{by}", "place": {PLACES[int(by[-1]) - 1][number]}, '
        f'"number": {number}}}'
        for by, number in order
    ]
    assert [path.name for path in parts.iterdir()] == ["ids.jsonl"]


def test_sort_does_the_same(parts: Path) -> None:
    """As docs/guide/chains.md says, where the run did not get so far."""
    command = "LC_ALL=C sort -m -s -k1,1 ids.*.part | cut -c 66- > by_hand.jsonl"
    subprocess.run(command, shell=True, cwd=parts, check=True)
    merge_parts(parts, IDS)
    assert (parts / "by_hand.jsonl").read_text().splitlines() == merged(parts)


def test_the_place_of_a_line_never_goes_back(tmp_path: Path) -> None:
    """A handler may go through a batch in any order."""
    path = tmp_path / "ids.1.part"
    log = RecordLog(RecordFile(path, is_part=True), name="nf", tell=pytest.fail)
    for place in (7, 3, 9):
        log.write(0, None, {}, place)
    log.close()
    assert [int(line[:64], 16) for line in path.read_text().splitlines()] == [7, 7, 9]


def test_parts_stay_where_they_cannot_be_merged(parts: Path) -> None:
    (parts / "ids.jsonl").mkdir()
    (complaint,) = merge_parts(parts, IDS)
    assert complaint.endswith("cannot be written: Is a directory; its lines are in ids.*.part")
    assert (parts / "ids.1.part").exists()


def test_an_nf_that_is_one_process_has_no_parts(tmp_path: Path) -> None:
    alone = ChainNF("ids", Path("ids.py"))
    assert log_name(alone) == "ids.jsonl"
    assert merge_parts(tmp_path, [alone]) == []
    assert list(tmp_path.iterdir()) == []
