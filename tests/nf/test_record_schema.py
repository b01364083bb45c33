"""What a class says of its lines becomes the JSON Schema of its log; built-in NFs keep to it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from microbox import NetworkFunction
from microbox.chain.sources import built_in_source
from microbox.nf.errors import DefinitionError
from microbox.nf.load import load_class
from microbox.nf.record_forms import FORMATS
from microbox.nf.record_schema import log_schema
from tests.conftest import MICROBOX, ROOT, Workbench

RULES = str(ROOT / "configs" / "web.rules")
WRITERS: dict[str, dict[str, Any]] = {
    "alert_log": {},
    "conn_log": {},
    "dns_log": {},
    "firewall": {"deny": ["tcp dst port 23", "udp"], "action": "reset"},
    "flow_log": {},
    "http_log": {},
    "tls_log": {},
}
"""Built-in NFs that write lines, with their parameters."""


def validator(nf: str, form: str) -> Draft202012Validator:
    source = built_in_source(nf)
    assert source is not None
    schema = log_schema(nf, load_class(source).records, form)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("form", FORMATS)
def test_every_line_of_a_run_is_as_the_schema_says(
    form: str, workbench: Workbench, demo: Path
) -> None:
    chain: list[Any] = [{"nf": name, **given} for name, given in WRITERS.items()]
    chain[:0] = [{"nf": "ids", "rules": RULES}]
    path = workbench.chain(*chain, capture=demo, logs={"format": form})
    assert workbench.run("run", path, "-q").returncode == 0
    for name in WRITERS:
        one = validator(name, form)
        lines = workbench.log(name)
        assert lines
        for line in lines[:: max(1, len(lines) // 200)]:
            one.validate(line)


def test_every_built_in_nf_that_writes_lines_says_what_they_are() -> None:
    for source in sorted((ROOT / "nfs").glob("[!_]*.py")):
        if "self.record(" in source.read_text():
            assert load_class(source).records, source.name


def test_a_line_with_another_field_or_kind_is_not_as_the_schema_says() -> None:
    one = validator("tls_log", "json")
    line = {"timestamp": 1.5, "event_type": "tls", "sni": "", "version": "", "alpn": []}
    one.validate({**line, "cipher_suites": 1})
    for wrong in ({}, {"cipher_suites": "1"}, {"cipher_suites": 1, "more": 1}):
        with pytest.raises(ValidationError):
            one.validate({**line, **wrong})


def test_of_an_nf_that_says_nothing_the_header_is_checked() -> None:
    one = Draft202012Validator(log_schema("mine", {}, "eve"))
    line = {"timestamp": "2023-11-14T22:13:20.123456+0000", "event_type": "mine"}
    one.validate({**line, "mine": {"anything": []}})
    with pytest.raises(ValidationError):
        one.validate({**line, "mine": {}, "src_port": "80"})


@pytest.mark.parametrize("records", [{"flow": {"reason": "string"}}, {"flow": "text"}, ["flow"]])
def test_what_cannot_be_read_is_refused_with_what_to_write(records: Any) -> None:
    with pytest.raises(DefinitionError, match="write"):
        type("Wrong", (NetworkFunction,), {"records": records})


def test_the_schema_is_printed() -> None:
    def printed(*arguments: str) -> Mapping[str, Any]:
        command = [str(MICROBOX), "schema", *arguments]
        output = subprocess.run(command, check=True, capture_output=True).stdout
        schema: Mapping[str, Any] = json.loads(output)
        return schema

    assert "sni" in printed("tls_log")["properties"]
    assert "sni" in printed("tls_log", "--eve")["properties"]["tls"]["properties"]
