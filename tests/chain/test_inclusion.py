"""`include:` of chain files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from microbox.chain.load import load_chain, read_chain
from microbox.chain.model import Overrides

Write = Callable[[str, str], Path]

CHAIN = "include: {}\ninput: capture.pcap\nchain: [flow_log]\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of this name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "capture.pcap").touch()

    def write(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def errors(path: Path) -> list[str]:
    return [str(error) for error in read_chain(path).errors]


def test_nfs_are_added_and_settings_joined(write: Write) -> None:
    write(
        "common.yaml",
        "chain: [flow_log]\nstack: {tcp_timeout: 1m, udp_timeout: 2m}\nlog: {slots: 4096}\n",
    )
    write("more.yaml", "chain: [dns_log]\nstack: {udp_timeout: 3m}\n")
    path = write(
        "chain.yaml",
        "include: [common.yaml, more.yaml]\ninput: capture.pcap\nchain: [http_log]\n"
        "stack: {icmp_timeout: 4m}\n",
    )
    chain = load_chain(path)
    assert [nf.name for nf in chain.nfs] == ["flow_log", "dns_log", "http_log"]
    minutes = {name: chain.settings[f"{name}_timeout"] / 6e10 for name in ("tcp", "udp", "icmp")}
    assert minutes == {"tcp": 1, "udp": 3, "icmp": 4}
    assert chain.log_slots == 4096


def test_the_including_file_has_the_last_word(write: Write) -> None:
    write("common.yaml", "workers: 2\nsandbox: off\nlogs: {directory: a, utc: true}\n")
    path = write(
        "chain.yaml",
        "workers: 3\ninclude: common.yaml\ninput: capture.pcap\nchain: [flow_log]\n"
        "logs: {directory: b}\n",
    )
    chain = load_chain(path)
    assert (chain.workers, chain.utc, chain.log_directory) == (3, True, Path("b"))
    assert load_chain(path, Overrides(settings=("workers=4",))).workers == 4


def test_paths_count_from_the_file_that_they_stand_in(write: Write) -> None:
    write(
        "site/nfs/mine.py",
        "from microbox import NetworkFunction\n\n\nclass M(NetworkFunction):\n    pass\n",
    )
    write(
        "site/all.yaml", "include: rules/ids.yaml\ninput: ../capture.pcap\nchain: [./nfs/mine.py]\n"
    )
    write("site/rules/ids.yaml", "chain: [{nf: ids, rules: web.rules}]\n")
    chain = load_chain(write("chain.yaml", "include: site/all.yaml\nchain: [flow_log]\n"))
    assert [nf.name for nf in chain.nfs] == ["ids", "mine", "flow_log"]
    assert chain.nfs[1].source == Path("site/nfs/mine.py")
    bases = [chain.base_of(nf.name) for nf in chain.nfs]
    assert bases == [Path("site/rules").absolute(), Path("site").absolute(), Path.cwd()]


def test_errors_are_said_of_the_file_that_they_stand_in(write: Write) -> None:
    write("common.yaml", "chain:\n  - flow_log\n  - nowhere_log\nstack:\n  tcp_timeot: 1m\n")
    path = write(
        "chain.yaml", "include: common.yaml\ninput: capture.pcap\nchain: [dns_logg]\nwrkers: 2\n"
    )
    places = [(error.file, error.line, error.column) for error in read_chain(path).errors]
    assert places == [
        ("chain.yaml", 3, 9),
        ("chain.yaml", 4, 1),
        ("common.yaml", 3, 5),
        ("common.yaml", 5, 3),
    ]


def test_one_nf_in_two_files_names_both(write: Write) -> None:
    write("common.yaml", "chain: [flow_log]\n")
    path = write("chain.yaml", "include: common.yaml\ninput: capture.pcap\nchain: [flow_log]\n")
    [error] = errors(path)
    assert error.startswith("chain.yaml:3:9: two NFs are called 'flow_log'")
    assert "line 1 of common.yaml" in error


def test_what_cannot_be_included_is_said_where_it_is_written(write: Write) -> None:
    write("binary.yaml", "").write_bytes(b"\xff\xfe")
    write("list.yaml", "[1, 2]\n")
    write("broken.yaml", "chain: [\n")
    path = write(
        "chain.yaml",
        "include:\n  - comon.yaml\n  - binary.yaml\n  - list.yaml\n  - broken.yaml\n"
        "  - .\ninput: capture.pcap\nchain: [flow_log]\n",
    )
    write("common.yaml", "workers: 1\n")
    found = errors(path)
    assert "chain.yaml:2:5: 'comon.yaml' does not exist; expected a chain file; " in found[1]
    assert "did you mean 'common.yaml'?" in found[1]
    assert "chain.yaml:3:5: 'binary.yaml' is not UTF-8" in found[2]
    assert "chain.yaml:6:5: '.' cannot be read: is a directory" in found[3]
    assert found[0].startswith("broken.yaml:2:1: ")
    assert found[4].startswith("list.yaml:1:1: the file holds a list")


@pytest.mark.parametrize("written", ["7", "[a.yaml, 7]", "{a: b}", "''"])
def test_what_is_no_path_is_an_error(write: Write, written: str) -> None:
    write("a.yaml", "workers: 1\n")
    path = write("chain.yaml", f"input: capture.pcap\nchain: [flow_log]\ninclude: {written}\n")
    [error] = errors(path)
    assert error.startswith("chain.yaml:3:10: include is ")


def test_a_file_that_includes_itself_is_refused(write: Write) -> None:
    write("a.yaml", "include: b.yaml\nworkers: 1\n")
    write("b.yaml", "include: ./a.yaml\n")
    [error] = errors(
        write("chain.yaml", "include: a.yaml\ninput: capture.pcap\nchain: [flow_log]\n")
    )
    assert error == "b.yaml:1:10: 'a.yaml' includes itself"


def test_many_deep_is_refused(write: Write) -> None:
    for depth in range(12):
        write(f"{depth}.yaml", f"include: {depth + 1}.yaml\n")
    [error] = errors(
        write("chain.yaml", "include: 0.yaml\ninput: capture.pcap\nchain: [flow_log]\n")
    )
    assert "more than 8 deep" in error


def test_the_name_may_come_from_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE", "berlin")
    write("berlin.yaml", "workers: 2\n")
    path = write("chain.yaml", "include: ${SITE}.yaml\ninput: capture.pcap\nchain: [flow_log]\n")
    assert load_chain(path).workers == 2
