"""What control groups leave of memory, from files as the kernel writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from microbox.runtime.cgroup import free_in_groups

Group = Callable[..., None]


@pytest.fixture
def group(tmp_path: Path) -> Group:
    """Writes the files of a group; "" is the root."""

    def write(name: str, most: str, taken: int, inactive: int = 0) -> None:
        folder = tmp_path / "hierarchy" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{taken}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {inactive}\nactive_file 9\n")

    return write


def free(tmp_path: Path, membership: str) -> int | None:
    file = tmp_path / "cgroup"
    file.write_text(membership)
    return free_in_groups(file, tmp_path / "hierarchy")


def test_the_lowest_limit_of_all_groups_above_counts(tmp_path: Path, group: Group) -> None:
    group("system.slice", "1000", 400)
    group("system.slice/microbox.service", "5000", 300)
    assert free(tmp_path, "0::/system.slice/microbox.service\n") == 600


def test_the_root_of_a_container_is_its_own_group(tmp_path: Path, group: Group) -> None:
    group("", "1000", 100)
    assert free(tmp_path, "0::/\n") == 900


def test_files_that_nobody_uses_can_be_given_up(tmp_path: Path, group: Group) -> None:
    group("run", "1000", 900, inactive=300)
    assert free(tmp_path, "0::/run\n") == 400


def test_a_group_over_its_limit_leaves_nothing(tmp_path: Path, group: Group) -> None:
    group("run", "1000", 1200)
    assert free(tmp_path, "0::/run\n") == 0


def test_a_group_without_a_limit_has_none(tmp_path: Path, group: Group) -> None:
    group("run", "max", 900)
    assert free(tmp_path, "0::/run\n") is None


@pytest.mark.parametrize("membership", ["", "4:memory:/old\n1:cpu:/\n", "0::/gone\n"])
def test_where_there_is_no_such_group_there_is_no_limit(tmp_path: Path, membership: str) -> None:
    assert free(tmp_path, membership) is None


def test_a_system_without_groups_has_no_limit(tmp_path: Path) -> None:
    assert free_in_groups(tmp_path / "none", tmp_path) is None
