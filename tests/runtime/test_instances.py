"""What several processes of an NF say at the end, as one."""

from __future__ import annotations

from microbox.runtime.accounts.instances import merged


def test_numbers_are_added_and_mappings_merged() -> None:
    one = {"flows": 3, "protocols": {"TCP": 2, "UDP": 1}}
    other = {"flows": 4, "protocols": {"TCP": 3, "ICMP": 1}}
    assert merged([one, other]) == {"flows": 7, "protocols": {"TCP": 5, "UDP": 1, "ICMP": 1}}


def test_lists_follow_each_other() -> None:
    assert merged([{"top": [1, 2]}, {"top": [3]}]) == {"top": [1, 2, 3]}


def test_what_is_equal_stays() -> None:
    same = {"version": "1.2", "share": 0.5, "strict": True}
    assert merged([same, same]) == same


def test_what_cannot_be_added_is_left_to_the_instances() -> None:
    assert merged([{"share": 0.5, "seen": 1}, {"share": 0.25, "seen": 1}]) == {"seen": 2}
    assert merged([{"name": "a"}, {"name": "b"}]) == {}
    assert merged([{"strict": True}, {"strict": False}]) == {}
