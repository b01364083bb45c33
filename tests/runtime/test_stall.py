"""A stall is measured from the last movement of anything."""

from microbox.runtime.failures.stall import Stall


def test_a_stall_begins_when_nothing_moves_and_ends_when_something_does() -> None:
    now = [0.0]
    stall = Stall(lambda: now[0])
    seen = []
    for position in (1, 1, 1, 2, 2):
        seen.append(stall.update((position, 7)))
        now[0] += 1.0
    assert seen == [0.0, 1.0, 2.0, 0.0, 1.0]
