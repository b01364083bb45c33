"""Counters of several workers become those of one."""

from __future__ import annotations

from microbox.events.catalog import built_in
from microbox.runtime.accounts.counters import WorkerCounters
from microbox.runtime.accounts.totals import PEAKS, total

ROWS = ("packets", "entries", "input_bytes", "time", "chain_longest", "held_segments_peak")


def number(name: str) -> int:
    return built_in().resolve(name).number


def counters(*values: int, finished: int = 1, **more: object) -> WorkerCounters:
    fields: dict[str, object] = {
        "published": {},
        "reasons": {},
        "caps_met": {},
        "judges": {},
        "shadows": {},
    }
    rows = dict.fromkeys(PEAKS, 0) | dict(zip(ROWS, values, strict=True)) | {"finished": finished}
    return WorkerCounters(values=rows, **(fields | more))  # type: ignore[arg-type]


def test_what_each_counts_of_its_own_is_added() -> None:
    made = total([counters(3, 7, 500, 9, 2, 4), counters(5, 11, 500, 9, 1, 6)])
    assert made.values["packets"] == 8
    assert made.values["entries"] == 18


def test_all_have_read_the_whole_input() -> None:
    made = total([counters(3, 7, 500, 8, 2, 4), counters(5, 11, 400, 9, 1, 6, finished=0)])
    assert made.values["input_bytes"] == 500
    assert made.values["time"] == 9
    assert made.values["held_segments_peak"] == 6
    assert made.values["finished"] == 0


def test_what_each_publishes_for_itself_counts_once() -> None:
    end, tick, data = number("system.end_of_input"), number("timer"), number("tcp.data")
    workers = [
        counters(0, 6, 0, 0, 0, 0, published={end: 1, tick: 2, data: 3}),
        counters(0, 9, 0, 0, 0, 0, published={end: 1, tick: 3, data: 5}),
    ]
    made = total(workers)
    assert made.published == {end: 1, tick: 3, data: 8}
    assert made.values["entries"] == 1 + 3 + 8


def test_counts_are_in_the_same_order_whoever_counted() -> None:
    one = counters(0, 0, 0, 0, 0, 0, caps_met={"held": {"pass": 1}}, reasons={5: 1})
    other = counters(0, 0, 0, 0, 0, 0, caps_met={"flows": {"evict": 2}}, reasons={3: 1, 5: 2})
    made = total([one, other])
    assert list(made.caps_met) == ["flows", "held"]
    assert list(made.reasons.items()) == [(3, 1), (5, 3)]
    assert made == total([other, one])
