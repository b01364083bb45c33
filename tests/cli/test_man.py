"""`microbox man`: pages that say what `--help` says, and that manual readers read."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microbox.cli.main import INIT_VERBS, VERBS
from microbox.cli.manual import Verb, verbs
from microbox.cli.manual_page import page_name

Microbox = Callable[..., Any]

CLI_REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "cli_reference.py"))
ALL_VERBS = {verb.name: verb for verb in verbs()}
MANDOC = shutil.which("mandoc")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
HELP_ITSELF = {"--help", "-h"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("man1")


@pytest.fixture(autouse=True)
def _written(microbox: Microbox, pages: Path) -> None:
    if not any(pages.iterdir()):
        assert microbox("man", "--write", str(pages)).status == 0


def shown(page: Path) -> str:
    """As a reader sees it, in lines of any length."""
    assert MANDOC is not None
    done = subprocess.run(
        [MANDOC, "-T", "utf8", "-O", "width=300", page], capture_output=True, text=True, check=True
    )
    return re.sub(".\b", "", done.stdout)


def test_each_verb_has_a_page(pages: Path) -> None:
    names = {*VERBS, *(f"init {verb}" for verb in INIT_VERBS)}
    assert set(ALL_VERBS) == names
    expected = {"microbox.1", *(f"{page_name(name)}.1" for name in names)}
    assert {path.name for path in pages.iterdir()} == expected


@pytest.mark.skipif(MANDOC is None, reason="mandoc is not installed")
def test_nothing_is_wrong_with_the_pages(pages: Path) -> None:
    for page in pages.iterdir():
        lint = subprocess.run(
            [str(MANDOC), "-T", "lint", "-W", "warning", page],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (lint.returncode, lint.stdout) == (0, ""), page.name


@pytest.mark.skipif(MANDOC is None, reason="mandoc is not installed")
@pytest.mark.parametrize("verb", ALL_VERBS.values(), ids=lambda verb: verb.name)
def test_a_page_has_all_that_help_has(microbox: Microbox, pages: Path, verb: Verb) -> None:
    helped = microbox(*verb.name.split(), "--help").out
    text = shown(pages / f"{page_name(verb.name)}.1")
    described = set(re.findall(OPTION, text))
    assert set(re.findall(OPTION, helped)) - HELP_ITSELF <= described
    synopsis = text.partition("SYNOPSIS")[2].partition("DESCRIPTION")[0]
    for argument in verb.arguments:
        is_optional = f"[{argument.names[0]}" in synopsis
        assert argument.names[0] in synopsis
        assert is_optional != argument.is_required
    for option in verb.options:
        assert option.names[-1] in synopsis
    running = " ".join(text.split())
    for setting in (*verb.arguments, *verb.options):
        assert setting.text, setting.names
        assert setting.text.replace("`", "") in running
        assert not setting.default or f"By default {setting.default}." in running
    assert "EXIT STATUS" in text


@pytest.mark.parametrize("verb", ALL_VERBS.values(), ids=lambda verb: verb.name)
def test_the_reference_has_the_same(verb: Verb) -> None:
    section = "\n".join(CLI_REFERENCE["section"](verb))
    for setting in (*verb.arguments, *verb.options):
        assert all(f"`{name}`" in section for name in setting.names)
        assert setting.text in section


def test_one_page_is_printed(microbox: Microbox, pages: Path) -> None:
    assert microbox("man", "init", "nf").out == (pages / "microbox-init-nf.1").read_text()
    assert microbox("man").out == (pages / "microbox.1").read_text()


def test_a_verb_that_there_is_not_is_wrong_use(microbox: Microbox) -> None:
    ran = microbox("man", "runn")
    assert ran.status == 2
    assert "no verb 'runn'" in ran.err
    assert "reload, run, schema" in ran.err


def test_a_place_that_takes_no_files_is_named(microbox: Microbox, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = microbox("man", "-w", str(tmp_path / "file" / "man1"))
    assert ran.status == 2
    assert "cannot be written: Not a directory" in ran.err
