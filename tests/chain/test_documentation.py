"""What docs/guide says of chains is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from microbox.chain.load import load_chain
from microbox.chain.model import (
    ENTRY_KEYS,
    ChainFile,
    EventSettings,
    LogSettings,
    LogsSettings,
    ParallelEntry,
    SandboxSettings,
)
from microbox.chain.stack_settings import (
    ForceSettings,
    HostSettings,
    StackSettings,
    SuspiciousSettings,
)

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
EXAMPLES = [
    example
    for page in ("chains.md", "conditions.md")
    for example in re.findall(
        r"^```yaml\n(.*?)^```", (GUIDE / page).read_text(), re.MULTILINE | re.DOTALL
    )
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample.pcap").touch()
    (tmp_path / "my_nf.py").touch()
    (tmp_path / "reports.py").touch()
    (tmp_path / "site.yaml").write_text("input: sample.pcap\n")
    (tmp_path / "alerts").mkdir()
    (tmp_path / "alerts" / "web.yaml").write_text("chain: [dns_log]\n")
    yield tmp_path


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_can_be_loaded(folder: Path, number: int) -> None:
    (folder / "chain.yaml").write_text(EXAMPLES[number])
    assert load_chain(Path("chain.yaml")).nfs


def test_every_key_is_shown() -> None:
    models = (
        ChainFile,
        EventSettings,
        StackSettings,
        HostSettings,
        ForceSettings,
        LogSettings,
        LogsSettings,
        SandboxSettings,
        SuspiciousSettings,
        ParallelEntry,
    )
    keys = [key for model in models for key in model.model_fields]
    text = "\n".join(EXAMPLES)
    assert [key for key in [*keys, *ENTRY_KEYS] if not re.search(rf"\b{key}:", text)] == []


def test_the_defaults_that_are_shown_are_those_of_the_stack(folder: Path) -> None:
    (folder / "chain.yaml").write_text(EXAMPLES[1])
    shown = load_chain(Path("chain.yaml")).settings
    defaults = StackSettings().as_settings()
    assert {key: value for key, value in shown.items() if key != "checksums"} == {
        key: value for key, value in defaults.items() if key != "checksums"
    }
