"""The README's commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def code_lines() -> list[str]:
    """Lines of the README that show commands: indented blocks and fenced ones."""
    fenced = "\n".join(re.findall(r"^```(?:\w*)\n(.*?)^```", README, re.M | re.S))
    indented = re.findall(r"^    (.+)$", README, re.M)
    return [line.strip().removeprefix("$ ") for line in [*fenced.splitlines(), *indented]]


def commands(program: str) -> list[str]:
    """First words after `program`, each once."""
    words = [line.split()[1] for line in code_lines() if re.match(rf"{program} [a-z]", line)]
    return sorted(set(words))


def test_it_opens_with_the_two_commands() -> None:
    first_lines = [line.partition("#")[0].strip() for line in README.splitlines()[3:5]]
    assert first_lines == ["make demo", "make test"]


@pytest.mark.parametrize("target", commands("make"))
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("verb", commands("microbox"))
def test_a_verb_exists(verb: str) -> None:
    shown = subprocess.run(
        [Path(sys.executable).parent / "microbox", verb, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert f"microbox {verb}" in shown.stdout


@pytest.mark.parametrize("link", re.findall(r"\]\(((?!http)[^)#]+)", README))
def test_a_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).exists()
