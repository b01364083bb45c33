"""What an NF says it needs: read from its text, replaced by the chain, named where it lacks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from microbox.channel.messages import Sandbox
from microbox.confine.domain import Needs
from microbox.nf.errors import DefinitionError
from microbox.nf.load import load_class
from microbox.nf.needs import check_was_read, narrowed, needs_of

if TYPE_CHECKING:
    from tests.conftest import Workbench

NF = """
from pathlib import Path
from typing import ClassVar
from microbox import NetworkFunction, on, parameter

class Reads(NetworkFunction):
    files: ClassVar = ["/etc/services", "./rules/*.txt"]
    writes = ["./out/"]
    network = True
    rules: Path = parameter(Path("none.txt"), "what to look for")
    lists: list[Path] = []
    limit: int = 3

    @on("packet")
    def see(self, event): ...
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "reads.py"
    path.write_text(NF)
    return path


def test_they_are_read_without_running_the_file(source: Path) -> None:
    source.write_text(NF + "\nraise SystemExit('it ran')\n")
    folder = source.parent
    needs = needs_of(source, {"rules": "web.rules", "lists": ["a", "/b"], "limit": 4}, "/chain")
    assert set(needs.files) == {
        "/etc/services",
        f"{folder}/rules/*.txt",
        "/chain/web.rules",
        "/chain/a",
        "/b",
    }
    assert needs.writes == (f"{folder}/out/",)
    assert needs.network


def test_a_default_path_may_be_read(source: Path) -> None:
    assert str(Path("none.txt").absolute()) in needs_of(source, {}, "/chain").files


def test_what_the_chain_says_takes_their_place() -> None:
    needs = Needs(files=("/a",), writes=("/b",), network=True)
    assert narrowed(needs, Sandbox()) == needs
    chosen = narrowed(needs, Sandbox(files=["/c"], writes=[], network=False))
    assert chosen == Needs(files=("/c",), writes=(), network=False)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('files = ["/etc/" + "hosts"]', "Sums.files is read before the code runs"),
        ("network = bool(1)", "write it as it is into the class, network = True"),
    ],
)
def test_what_is_not_plain_is_an_error(tmp_path: Path, written: str, said: str) -> None:
    path = tmp_path / "sums.py"
    path.write_text(
        "from microbox import NetworkFunction, on\n"
        f"class Sums(NetworkFunction):\n    {written}\n"
        '    @on("packet")\n    def see(self, event): ...\n'
    )
    with pytest.raises(DefinitionError, match=said):
        check_was_read(load_class(path), path)


REFUSED = """
import socket, subprocess
class {name}(NetworkFunction):
    @on("packet")
    def see(self, event):
        if event.packet == 1:
            {code}
"""
CLASS = "class Reader(NetworkFunction):"
ATTEMPTS = {
    "Reader": ('open("/etc/hostname")', 'write files = ["/etc/hostname"] in class Reader'),
    "Writer": ('open("/nowhere", "w")', 'write writes = ["/nowhere"] in class Writer'),
    "Caller": ("socket.socket()", "write network = True in class Caller"),
    "Starter": ('subprocess.run(["true"])', "an NF starts no processes"),
}


def test_an_error_names_the_line_that_would_allow_it(workbench: "Workbench") -> None:
    entries = [
        {
            "nf": workbench.nf(name.lower(), REFUSED.format(name=name, code=code)),
            "on_error": "skip",
        }
        for name, (code, _) in ATTEMPTS.items()
    ]
    result = workbench.run("run", workbench.chain(*entries, sandbox={}))
    for name, (_, hint) in ATTEMPTS.items():
        assert hint in result.stderr, name
    line = (workbench.folder / "reader.py").read_text().splitlines().index(CLASS) + 1
    assert f"in class Reader (reader.py:{line})" in result.stderr


def test_check_shows_what_an_nf_will_have(workbench: "Workbench") -> None:
    (workbench.folder / "reads.py").write_text(NF)
    free = {"nf": "flow_log", "sandbox": "off"}
    less = {"nf": "./reads.py", "sandbox": {"network": False}}
    result = workbench.run("check", workbench.chain(less, free, sandbox={"writes": []}), "--json")
    reads, flows = (nf["needs"] for nf in json.loads(result.stdout)["nfs"])
    assert reads == {
        "sandbox": True,
        "files": ["/etc/services", "./rules/*.txt"],
        "writes": [],
        "network": False,
    }
    assert not flows["sandbox"]
    assert not (workbench.folder / "out").exists()
