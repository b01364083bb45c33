"""What the documentation shows runs: commands, chains, Python, C. CONTRIBUTING.md has the rules."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import zstandard
from ruamel.yaml import YAML

from microbox.chain.describe import Answer, describe_all
from microbox.chain.errors import ChainErrors
from microbox.chain.model import ChainNF
from microbox.chain.prepare import prepare
from microbox.cli.init import nf as init_nf
from microbox.cli.main import INIT_VERBS, VERBS
from microbox.nf.load import load_class
from microbox.nf.manifest import manifest_of
from microbox.runtime.processes.validation import from_child
from microbox.testing import run_nf
from tests.docs.blocks import PAGES, ROOT, Block, blocks
from tests.docs.shell import Shell, commands

BLOCKS = [block for page in PAGES for block in blocks(page)]
STAND_INS = {
    "tcpdump": "cat sample.pcap",
    "dumpcap": "cat sample.pcap",
    "ssh": 'shift; exec "$@"',
}
"""What needs a network in the examples: the traffic is a capture, the other machine this one."""
LOOKS_LIKE_A_COMMAND = re.compile(r"^(\$ |microbox [a-z]|make [a-z]|pip |cd )", re.MULTILINE)
MAKE = re.compile(r"make ([a-z-]+)")


class Page:
    """A page's folder, Python names and running chain; its blocks follow each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        module = ModuleType(f"documentation_{folder.name}")
        sys.modules[module.__name__] = module  # classes look there for what they were made from
        self.names = module.__dict__
        self.shell = Shell(folder)
        self.chain: subprocess.Popen[str] | None = None
        furnish(folder)

    def run_a_chain(self) -> None:
        """The folder's chain, over real traffic, much slower than it was captured."""
        if self.chain is not None and self.chain.poll() is None:
            return
        line = "exec microbox run chain.yaml -r capture.pcap --pace 0.2 -w beside --overwrite"
        self.chain = self.shell.start(f"{line} >beside.txt 2>&1")
        deadline = time.monotonic() + 30
        while "packets" not in self._ps():
            said = (self.folder / "beside.txt").read_text()
            assert self.chain.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.02)

    def _ps(self) -> str:
        done = subprocess.run(
            ["microbox", "ps"],
            env=self.shell.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def close(self) -> None:
        if self.chain is not None:
            if self.chain.poll() is None:
                os.killpg(self.chain.pid, signal.SIGTERM)
            self.chain.communicate(timeout=60)


def furnish(folder: Path) -> None:
    """What pages take for granted: what `microbox init nf my_nf` writes, captures, the examples."""
    stand_ins = folder / ".stand-ins"
    stand_ins.mkdir()
    for name, script in STAND_INS.items():
        (stand_ins / name).write_text(f"#!/bin/sh\n{script}\n")
        (stand_ins / name).chmod(0o755)
    assert init_nf("my_nf", directory=folder) == 0
    shutil.copy(ROOT / "captures" / "demo.pcap", folder / "capture.pcap")
    packed = zstandard.compress((folder / "sample.pcap").read_bytes())
    (folder / "day.pcap.zst").write_bytes(packed)
    shutil.copy(folder / "my_nf.py", folder / "reports.py")
    shutil.copy(ROOT / "configs" / "web.rules", folder)
    for name in ("captures", "configs", "examples"):
        shutil.copytree(ROOT / name, folder / name)


@pytest.fixture(scope="module")
def pages() -> Iterator[dict[str, Page]]:
    made: dict[str, Page] = {}
    yield made
    for page in made.values():
        page.close()


@pytest.fixture
def page(
    request: pytest.FixtureRequest,
    pages: dict[str, Page],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Page:
    """That of the block; all of its blocks share it."""
    name = request.getfixturevalue("block").page
    if name not in pages:
        pages[name] = Page(tmp_path_factory.mktemp("page"))
    monkeypatch.chdir(pages[name].folder)
    return pages[name]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_is_true(block: Block, page: Page) -> None:
    assert block.language in RULES, f"{block.place}: no rule for '{block.language}' blocks"
    if reason := block.marks.get("fragment"):
        pytest.skip(f"{block.place}: {reason}")
    if source := block.marks.get("part of"):
        assert_part(block.text, (ROOT / source).read_text())
        return
    if name := block.marks.get("file"):
        (page.folder / name).write_text(block.text)
    RULES[block.language](block, page)


def assert_part(text: str, whole: str) -> None:
    """All of its lines stand there in this order, however they are indented."""
    there = iter([" ".join(line.split()) for line in whole.splitlines()])
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    assert [line for line in lines if line not in there] == []


def check_commands(block: Block, page: Page) -> None:
    """Runs them in the page's folder, one after the other; a `cd` holds for the block."""
    if "in a running chain" in block.marks:
        page.run_a_chain()
    status = int(block.marks.get("exit status", "0"))
    folder = ""
    differ = "figures differ" in block.marks
    todo = commands(block.language, block.text, figures_differ=differ)
    for command in todo:
        if target := MAKE.match(command.line):
            assert re.search(rf"^{target[1]}:", (ROOT / "Makefile").read_text(), re.M)
        elif command.line.startswith("cd "):
            folder += f"{command.line.partition('#')[0]}\n"
        else:
            last = command is todo[-1]
            run = page.shell.run
            if last and "until interrupted" in block.marks:
                run = page.shell.interrupt
            run(replace(command, line=folder + command.line), status if last else 0)


def check_python(block: Block, page: Page) -> None:
    """Runs it behind the page's other blocks, and then the tests that it defines."""
    path = page.folder / block.marks.get("file", f"line_{block.line}.py")
    path.write_text(block.text)
    page.names["__file__"] = str(path)
    before = set(page.names)
    exec(compile(block.text, str(path), "exec"), page.names)
    for name in page.names.keys() - before:
        if name.startswith("test_"):
            call(page.names[name])


def call(test: Callable[..., None]) -> None:
    if "run_nf" in inspect.signature(test).parameters:
        test(run_nf)
    else:
        test()


def check_chain(block: Block, page: Page) -> None:
    """`microbox check`; what shows a few keys alone is completed by an input and an NF."""
    path = (page.folder / block.marks.get("file", "block")).with_suffix(".checked.yaml")
    keys = YAML(typ="safe").load(block.text)
    missing = {"input": "sample.pcap", "chain": "[flow_log]"}
    added = [f"{key}: {value}\n" for key, value in missing.items() if key not in keys]
    path.write_text(block.text + "".join(added))
    try:
        prepare(path, describe)
    except ChainErrors as errors:
        pytest.fail("\n".join(map(str, errors.errors)))


def describe(nfs: Sequence[ChainNF]) -> list[Answer]:
    """As `microbox check` does; NFs in Python are loaded here, since a process each takes time."""
    return [
        manifest_of(load_class(nf.source)) if nf.source.suffix == ".py" else described_apart(nf)
        for nf in nfs
    ]


def described_apart(nf: ChainNF) -> Answer:
    (answer,) = describe_all([nf], decode=from_child)
    return answer


def check_c(block: Block, page: Page) -> None:
    """Compiles it as a module or an NF is compiled."""
    path = page.folder / block.marks.get("file", f"line_{block.line}.c")
    path.write_text(block.text)
    command = ["cc", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused", f"-I{ROOT}"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check_text(block: Block) -> None:
    """Drawings and output; no command hides there."""
    if "verbs" in block.marks:
        assert_verbs(block.text)
    else:
        assert not LOOKS_LIKE_A_COMMAND.search(block.text), "a command belongs into a sh block"


def assert_verbs(text: str) -> None:
    """The list has each verb of the command line, and no other."""
    listed = {line.split()[1] for line in text.splitlines()} - {"--version"}
    assert listed == {*VERBS, "init"}
    assert all(f"init {verb} " in text for verb in INIT_VERBS)


def check_other(block: Block) -> None:
    """Files of other programs: tests of their own run them."""
    assert block.marks.get("part of"), f"{block.place}: which file is it a 'part of'?"


RULES: dict[str, Callable[[Block, Page], None]] = {
    "sh": check_commands,
    "console": check_commands,
    "python": check_python,
    "yaml": check_chain,
    "c": check_c,
    "text": lambda block, _: check_text(block),
    "ini": lambda block, _: check_other(block),
    "json": lambda block, _: check_other(block),
}


def test_there_are_blocks_of_each_kind() -> None:
    assert {"sh", "console", "python", "yaml", "c"} <= {block.language for block in BLOCKS}
