"""`check --dump`: the settings in effect are a chain file that comes to the same."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from microbox.chain.document import value_of
from microbox.chain.effective import as_yaml
from microbox.chain.load import load_chain
from microbox.chain.model import Chain, ChainFile, Input, NetworkFunctionEntry, Overrides

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
ALL_KEYS = re.findall(
    r"^```yaml\n(.*?)^```", (ROOT / "docs" / "guide" / "chains.md").read_text(), re.M | re.S
)[1]
OF_THE_FILE = re.compile(r"(.*_)?positions?|places|written|file|effective")
"""What is otherwise where the same is written elsewhere."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs; the chain lies in a directory below."""
    monkeypatch.chdir(tmp_path)
    chains = tmp_path / "chains"
    chains.mkdir()
    for name in ("sample.pcap", "my_nf.py", "reports.py"):
        (chains / name).touch()
    return tmp_path


def meaning(part: Any) -> Any:
    """Of a chain, without where it is written."""
    if dataclasses.is_dataclass(part):
        part = {one.name: getattr(part, one.name) for one in dataclasses.fields(part)}
    if isinstance(part, Mapping):
        return {key: meaning(one) for key, one in part.items() if not OF_THE_FILE.fullmatch(key)}
    if isinstance(part, list | tuple):
        return [meaning(one) for one in part]
    return part.absolute() if isinstance(part, Path) else part


def again(chain: Chain, folder: Path, overrides: Overrides | None = None) -> Chain:
    """The chain of what is dumped, from a file elsewhere."""
    (folder / "dumped.yaml").write_text(as_yaml(chain.effective))
    return load_chain(folder / "dumped.yaml", overrides)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.stem))
def test_what_is_dumped_of_a_chain_is_the_same_chain(folder: Path, path: Path) -> None:
    chain = load_chain(path)
    assert meaning(again(chain, folder)) == meaning(chain)


def test_what_is_dumped_has_all_that_a_chain_may_say(folder: Path) -> None:
    (folder / "chains" / "all.yaml").write_text(ALL_KEYS)
    chain = load_chain(Path("chains/all.yaml"))
    assert meaning(again(chain, folder)) == meaning(chain)
    assert chain.effective.keys() == ChainFile.model_fields.keys() - {"include"}
    entries = chain.effective["chain"]
    said = {key for entry in entries for key in entry} & NetworkFunctionEntry.model_fields.keys()
    assert NetworkFunctionEntry.model_fields.keys() - said == {"after"}
    assert entries[0]["restart"] is False


def test_short_forms_and_parallel_entries(folder: Path) -> None:
    (folder / "chains" / "short.yaml").write_text(
        "input: sample.pcap\n"
        "chain: [flow_log, {parallel: [http_log, {nf: ./my_nf.py, sandbox: off, top: null}]}]\n"
        "events: {tcp.data.get: true}\n"
        "sandbox: off\n"
        "on_worker_failure: restart\n"
        "stack: {held_bytes_per_flow: 1000, held_bytes_max: 1.5kB, tcp_timeout: 1.5s}\n"
    )
    chain = load_chain(Path("chains/short.yaml"))
    assert meaning(again(chain, folder)) == meaning(chain)
    stack = chain.effective["stack"]
    assert (stack["held_bytes_per_flow"], stack["held_bytes_max"]) == (1000, 1500)
    assert stack["tcp_timeout"] == "1500ms"
    assert chain.effective["chain"][1]["parallel"][1]["top"] is None


def test_what_the_command_line_says_is_in_it(folder: Path) -> None:
    (folder / "chains" / "chain.yaml").write_text("input: none.pcap\nchain: [flow_log]\n")
    overrides = Overrides(
        input=Input((Path("chains/sample.pcap"),)), workers=3, settings=("chain.flow_log.top=3",)
    )
    effective = load_chain(Path("chains/chain.yaml"), overrides).effective
    assert effective["input"] == str(folder / "chains" / "sample.pcap")
    assert effective["workers"] == 3
    assert effective["chain"][0]["top"] == 3


def test_standard_input_is_left_to_the_command_line(folder: Path) -> None:
    (folder / "chains" / "chain.yaml").write_text("chain: [flow_log]\n")
    overrides = Overrides(input=Input((Path("-"),)))
    chain = load_chain(Path("chains/chain.yaml"), overrides)
    assert "input" not in chain.effective
    assert meaning(again(chain, folder, overrides)) == meaning(chain)


def test_texts_stay_texts() -> None:
    for text in ("true", "off", "12", "1e3", "null", "", "a: b", "# no comment", "x" * 500, "é\n"):
        assert value_of(as_yaml({"key": text})) == {"key": text}
