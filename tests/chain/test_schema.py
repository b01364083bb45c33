"""The JSON Schema of chain files: it takes what microbox takes, and refuses wrong shapes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from chain_mistakes import MISTAKES, NOT_OF_SHAPE
from jsonschema import Draft202012Validator

from microbox.chain.document import read_document
from microbox.chain.schema import chain_schema

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "configs" / "chain.schema.json"
CHAINS = [*sorted((ROOT / "configs").glob("*.yaml")), *sorted((ROOT / "examples").rglob("*.yaml"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
SNIPPETS = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S))
    if re.search(r"^input:", text, re.M)  # not a part of one
]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = chain_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def mistakes(validator: Draft202012Validator, text: str) -> list[str]:
    return [error.json_path for error in validator.iter_errors(read_document(text, "").value)]


@pytest.mark.parametrize("path", CHAINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_chain_that_comes_with_microbox_is_fine(
    validator: Draft202012Validator, path: Path
) -> None:
    assert mistakes(validator, path.read_text()) == []


@pytest.mark.parametrize("text", SNIPPETS)
def test_a_chain_of_the_documentation_is_fine(validator: Draft202012Validator, text: str) -> None:
    assert mistakes(validator, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "workers: ${WORKERS:-2}",
        "sandbox: '${SANDBOX}'",
        "stack:\n  tcp_timeout: ${TIMEOUT}\n  held_bytes_max: ${BYTES}",
        "log:\n  slots: ${SLOTS}",
    ],
)
def test_anything_may_come_from_the_environment(validator: Draft202012Validator, text: str) -> None:
    assert mistakes(validator, f"input: ${{X}}\nchain: ['${{NF}}']\n{text}\n") == []


@pytest.mark.parametrize("mistake", sorted(MISTAKES.keys() - NOT_OF_SHAPE))
def test_a_wrong_shape_is_refused(validator: Draft202012Validator, mistake: str) -> None:
    assert mistakes(validator, MISTAKES[mistake][0])


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("workers: 65", "$.workers"),
        ("on_worker_failure: {attempts: 0}", "$.on_worker_failure"),
        ("sandbox: maybe", "$.sandbox"),
        ("events: {tcp.data.get: 3.5}", "$.events['tcp.data.get']"),
        ("stack: {tcp_timeout: 5 minutes}", "$.stack.tcp_timeout"),
        ("stack: {hosts: [10.0.0.0/8]}", "$.stack.hosts[0]"),
        ("stack: {force: {flows: 1.5}}", "$.stack.force.flows"),
    ],
)
def test_the_place_of_a_mistake_is_known(
    validator: Draft202012Validator, written: str, path: str
) -> None:
    text = f"input: sample.pcap\nchain: [flow_log]\n{written}\n"
    assert mistakes(validator, text) == [path]


def test_defaults_stand_there_as_people_write_them() -> None:
    stack = _section("StackSettings")
    assert stack["gap_timeout"]["default"] == "30s"
    assert stack["tcp_timeout"]["default"] == "124m"
    assert stack["held_bytes_max"]["default"] == "256MiB"
    assert stack["tunnels_max"]["default"] == 4


def test_an_editor_is_told_the_names_of_nfs() -> None:
    names = _section("NetworkFunctionEntry")["nf"]["anyOf"][0]["anyOf"][0]["enum"]
    assert {"flow_log", "ids", "http"} <= set(names)


def test_the_one_beside_the_chains_is_up_to_date() -> None:
    written = json.dumps(chain_schema(), indent=2, ensure_ascii=False) + "\n"
    assert SHIPPED.read_text() == written, "microbox schema > configs/chain.schema.json"


def _section(name: str) -> dict[str, Any]:
    properties: dict[str, Any] = chain_schema()["$defs"][name]["properties"]
    return properties
