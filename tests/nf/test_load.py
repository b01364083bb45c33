"""A file is an NF, or it is said why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from microbox.nf.errors import LoadError
from microbox.nf.load import load_class

Write = Callable[..., Path]

IMPORT = "from microbox import NetworkFunction, on\n"
ONE = IMPORT + 'class One(NetworkFunction):\n    @on("packet")\n    def see(self, event): pass\n'
IDLE = IMPORT + "class Idle(NetworkFunction):\n    pass\n"
TWO = ONE + "class Two(NetworkFunction):\n    pass\n"
DERIVED = ONE + "class Derived(One):\n    pass\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str, name: str = "some_nf.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return put


def test_the_one_class_of_a_file_is_its_nf(write: Write) -> None:
    assert load_class(write(ONE)).__name__ == "One"


def test_a_class_that_others_derive_from_is_no_nf_of_its_own(write: Write) -> None:
    assert load_class(write(DERIVED, "derived.py")).__name__ == "Derived"


def test_files_beside_it_can_be_imported(write: Write) -> None:
    write("NAME = 'beside'\n", "beside_the_nf.py")
    path = write(ONE + "    from beside_the_nf import NAME\n", "importing.py")
    assert load_class(path).NAME == "beside"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("x = 1\n", " defines no NF", "write a class that derives from microbox.NetworkFunction"),
        (
            IDLE,
            ": Idle handles nothing",
            'write @on("tcp.data"), @on_batch(...) or @every(...) above a method',
        ),
        (TWO, " defines 2 NFs: One, Two", "put each into a file of its own"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named", ""),
        ("def f(:\n", "SyntaxError: ", ""),
        ("raise SystemExit(3)\n", "SystemExit: 3", ""),
    ],
)
def test_what_is_no_nf_is_said_so(write: Write, text: str, message: str, hint: str) -> None:
    with pytest.raises(LoadError) as error:
        load_class(write(text))
    assert message in str(error.value)
    assert error.value.hint == hint


def test_the_traceback_begins_in_the_users_file(write: Write) -> None:
    path = write("def fail():\n    1 / 0\n\nfail()\n")
    with pytest.raises(LoadError) as error:
        load_class(path)
    lines = error.value.traceback.splitlines()
    assert lines[1] == f'  File "{path}", line 4, in <module>'
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="nowhere.py is not a file"):
        load_class(tmp_path / "nowhere.py")
