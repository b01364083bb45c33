"""Importing the package costs next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import microbox


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    command = [sys.executable, "-P", "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_the_package_loads_its_names_when_they_are_used() -> None:
    loaded = modules_after("import microbox")
    assert not {"numpy", "microbox._core", "microbox.nf.function"} & loaded


def test_an_nf_without_batches_needs_no_numpy() -> None:
    loaded = modules_after("import microbox.nf.process")
    assert not {"numpy", "pydantic", "uvloop"} & loaded


def test_all_public_names_are_there() -> None:
    for name in microbox.__all__:
        assert getattr(microbox, name) is not None
        assert name in dir(microbox)
    assert microbox.__version__[0].isdigit()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'microbox' has no attribute 'Bacth'"):
        _ = microbox.Bacth
