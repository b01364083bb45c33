"""`microbox init nf NAME`: a commented NF, a test that passes, and a chain that runs it."""

from __future__ import annotations

import keyword
import re
import sys
from importlib import resources
from pathlib import Path
from string import Template

TEMPLATES = "templates"
CHAIN = "chain.yaml"
SAMPLE = "sample.pcap"


def nf(name: str, /, *, directory: Path = Path()) -> int:
    """Write a new NF with a test that passes, and a chain that runs it.

    Writes NAME.py, test_NAME.py, chain.yaml, and sample.pcap for the two to read. Files that exist
    are never written over; a chain.yaml that exists is kept, for you to add the NF.

    Parameters
    ----------
    name
        Name of the NF: a Python identifier, such as block_telnet.
    directory
        Where to write it. Made where it does not exist.
    """
    from microbox.chain.sources import built_in_names
    from microbox.cli.main import FINE

    if not is_module_name(name):
        suggestion = suggested_name(name)
        hint = f"; did you mean '{suggestion}'?" if suggestion else ""
        return _fail(f"'{name}' is no name for a Python file of lower-case words joined by _{hint}")
    if name in built_in_names():
        return _fail(f"a built-in NF is called '{name}'; did you mean 'my_{name}'?")
    files = rendered(name)
    taken = [file for file, content in files.items() if _is_taken(directory / file, content)]
    if taken:
        return _fail(f"{directory / taken[0]} exists already; nothing was written")
    missing = [file for file in files if not (directory / file).exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file in missing:
            (directory / file).write_bytes(files[file])
    except OSError as error:
        return _fail(f"{error.filename}: cannot be written: {error.strerror}")
    _say_what_next(name, directory, missing)
    return FINE


def _is_taken(path: Path, content: bytes) -> bool:
    """True where something is there that is in the way. A chain may be anybody's."""
    if not path.exists():
        return False
    if path.name == CHAIN:
        return not path.is_file()
    return path.name != SAMPLE or not path.is_file() or path.read_bytes() != content


def _fail(message: str) -> int:
    from microbox.cli.main import WRONG

    print(f"error: {message}", file=sys.stderr)
    return WRONG


def is_module_name(name: str) -> bool:
    """True for a name that a Python file, and an NF in a chain, may have."""
    return bool(re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name)) and not keyword.iskeyword(name)


def suggested_name(name: str) -> str:
    """The nearest name that is one: BlockTelnet and block-telnet become block_telnet."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.removesuffix(".py"))
    joined = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_").lstrip("0123456789_")
    if keyword.iskeyword(joined):
        joined = f"{joined}_nf"
    return joined if is_module_name(joined) else ""


def class_name(name: str) -> str:
    """block_telnet becomes BlockTelnet."""
    return "".join(word.capitalize() for word in name.split("_"))


def rendered(name: str) -> dict[str, bytes]:
    """The files' contents by name."""
    words = {"name": name, "class_name": class_name(name)}
    files = {
        f"{name}.py": "nf.py.txt",
        f"test_{name}.py": "test.py.txt",
        CHAIN: CHAIN,
    }
    package = resources.files("microbox.cli")
    contents = {
        file: Template(package.joinpath(TEMPLATES, template).read_text("utf-8"))
        .substitute(words)
        .encode()
        for file, template in files.items()
    }
    contents[SAMPLE] = resources.files("microbox").joinpath(SAMPLE).read_bytes()
    return contents


def _say_what_next(name: str, directory: Path, written: list[str]) -> None:
    print("Wrote " + ", ".join(str(directory / file) for file in written) + ".")
    if CHAIN not in written:
        print(f"Kept {directory / CHAIN}: add ./{name}.py to its chain.")
    print(f"\n  microbox run {directory / CHAIN}")
    print(f"  pytest {directory / f'test_{name}.py'}")
