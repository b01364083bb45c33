"""From an NF's C file to its shared object, which lies in memory.

The user's compiler makes it in a private folder; nothing of it is run here. What is loaded later,
when the process may do little any more, is a descriptor: neither the folder nor the file has to be
reachable then.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import microbox
from microbox.confine.compiler import compiler_domain
from microbox.nf.errors import LoadError

SUFFIXES = (".c", ".so")
COMPILERS = ("cc", "gcc", "clang")
OPTIONS = ("-O2", "-g", "-shared", "-fPIC", "-Wall")
SECONDS = 60.0  # that a compiler may take


def is_c(source: Path) -> bool:
    """True for the file of an NF in C, or for what a compiler made of one."""
    return source.suffix in SUFFIXES


def include_directory() -> Path:
    """Where C files find `microbox/include/microbox_nf.h`."""
    return Path(microbox.__file__).parent.parent


def shared_object_of(source: Path, *, is_confined: bool = False) -> int:
    """A descriptor of the NF's shared object, compiled where `source` is a C file; by a compiler
    that reads the NF's own folder alone where it `is_confined`. Raises LoadError."""
    if not source.is_file():
        raise LoadError(f"{source} is not a file")
    if source.suffix == ".so":
        return _in_memory(source, source.name)
    with tempfile.TemporaryDirectory(prefix="microbox-nf-") as folder:
        made = Path(folder, source.stem + ".so")
        _compile(source, made, is_confined=is_confined)
        return _in_memory(made, made.name)


def _in_memory(file: Path, name: str) -> int:
    try:
        octets = file.read_bytes()
    except OSError as error:
        raise LoadError(f"{file} cannot be read: {error.strerror}") from None
    descriptor = os.memfd_create(name)
    with open(descriptor, "wb", closefd=False) as memory:
        memory.write(octets)
    return descriptor


def _compile(source: Path, made: Path, *, is_confined: bool) -> None:
    command = [*compiler(), *OPTIONS, f"-I{include_directory()}", "-o", str(made), str(source)]
    found = shutil.which(command[0])
    enter = None
    if is_confined and found is not None:
        reads = [source.resolve().parent, include_directory()]
        enter = compiler_domain(Path(found), reads, made.parent)
    try:
        done = subprocess.run(
            command,
            preexec_fn=enter,
            env=_environment(made.parent),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except OSError as error:
        raise LoadError(
            f"the compiler '{command[0]}' cannot be run: {error.strerror}",
            hint="set CC to a C compiler, or to nothing",
        ) from None
    except subprocess.TimeoutExpired:
        raise LoadError(f"{source.name} was not compiled within {SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise LoadError(f"{source.name} does not compile ({shlex.join(command[:1])})", done.stdout)
    if done.stdout:
        print(done.stdout, end="", file=sys.stderr, flush=True)


def _environment(folder: Path) -> dict[str, str]:
    """The compiler works in `folder`; what is loaded into this process is not for it."""
    kept = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return {**kept, "TMPDIR": str(folder)}


def compiler() -> list[str]:
    """$CC, which may have arguments, else the first one that there is. Raises LoadError."""
    chosen = shlex.split(os.environ.get("CC", ""))
    if chosen:
        return chosen
    for name in COMPILERS:
        if shutil.which(name):
            return [name]
    raise LoadError(
        "there is no C compiler: none of cc, gcc, clang is in PATH",
        hint="install one (Debian: apt-get install gcc libc6-dev), name one (CC=/path/to/cc), or "
        "give a ready .so",
    )
