"""What the notebook shows runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "docs" / "guide" / "notebook.ipynb"
    monkeypatch.chdir(path.parent)
    names: dict[str, Any] = {"__name__": "documentation"}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs are made when the documentation is built"
            exec("".join(cell["source"]), names)
    assert len(names["both"]) > 100
