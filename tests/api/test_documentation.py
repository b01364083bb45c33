"""What README, guides and the notebook show runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microbox.testing import Result

ROOT = Path(__file__).parents[2]


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


def example(page: str, words: str) -> str:
    return next(one for one in examples(page) if words in one)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo: Path) -> Path:
    """The working directory of the examples."""
    shutil.copy(demo, tmp_path / "capture.pcap")
    (tmp_path / "captures").mkdir()
    shutil.copy(demo, tmp_path / "captures" / "demo.pcap")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_guide_to_scripts_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "documentation"}
    for one in examples("docs/guide/python.md"):
        exec(one, names)
    assert names["total"] > 5_000_000
    assert "www.shop.example" in capsys.readouterr().out


def test_the_guide_to_tests_runs(run_nf: Callable[..., Result]) -> None:
    names: dict[str, Any] = {"__name__": "documentation"}
    for one in examples("docs/guide/testing.md"):
        exec(one, names)
    tests = {name: one for name, one in names.items() if name.startswith("test_")}
    assert len(tests) == 6
    tests.pop("test_telnet_is_refused")(run_nf)
    for one in tests.values():
        one()


def test_the_readme_runs(
    folder: Path, run_nf: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"__name__": "documentation"}
    exec(example("README.md", "microbox.read("), names)
    assert len(names["requests"]) == 205
    assert "443 TCP" in capsys.readouterr().out
    (folder / "block_telnet.py").write_text(example("README.md", "class BlockTelnet"))
    exec(example("README.md", "def test_telnet_is_refused"), names)
    names["test_telnet_is_refused"](run_nf)


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "docs" / "guide" / "notebook.ipynb"
    monkeypatch.chdir(path.parent)
    names: dict[str, Any] = {"__name__": "documentation"}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs are made when the documentation is built"
            exec("".join(cell["source"]), names)
    assert len(names["both"]) > 100
