"""Chain files: what they may say, and what each mistake in one is answered with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from chain_mistakes import MISTAKES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microbox.chain.errors import ChainErrors, Position
from microbox.chain.load import load_chain, read_chain
from microbox.chain.model import Chain, Input, Overrides
from microbox.chain.stack_settings import StackSettings
from microbox.chain.supervision import Restart
from microbox.channel.messages import HostNetwork

Load = Callable[..., Chain]
Complaints = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a capture and an NF, where the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "capture.pcap").write_bytes(b"")
    (tmp_path / "my_nf.py").write_text("value = 1\n")
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Load:
    def load_text(text: str, overrides: Overrides | None = None) -> Chain:
        (folder / "chain.yaml").write_text(dedent(text))
        return load_chain(Path("chain.yaml"), overrides)

    return load_text


@pytest.fixture
def complaints(load: Load) -> Complaints:
    """All errors of a file, as they are printed."""

    def complain(text: str, overrides: Overrides | None = None) -> list[str]:
        with pytest.raises(ChainErrors) as raised:
            load(text, overrides)
        return [str(error) for error in raised.value.errors]

    return complain


# --- what a file may say ---


def test_the_smallest_chain(load: Load) -> None:
    chain = load("input: capture.pcap\nchain: [flow_log]\n")
    assert chain.input == Input((Path("capture.pcap"),))
    assert chain.output is None
    assert [nf.name for nf in chain.nfs] == ["flow_log"]
    assert chain.nfs[0].source.name == "flow_log.py"
    assert chain.nfs[0].position == Position(2, 9)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("end", None),
        ("restart", Restart(5, 0.1, 10.0)),
        ("{attempts: 2, backoff: 1s}", Restart(2, 1.0, 10.0)),
    ],
)
def test_what_becomes_of_a_dead_worker(load: Load, written: str, meant: Restart | None) -> None:
    chain = load(f"input: capture.pcap\nchain: [flow_log]\non_worker_failure: {written}\n")
    assert chain.worker_restart == meant


def test_all_that_a_chain_may_say(load: Load) -> None:
    chain = load(
        """
        input: capture.pcap
        output: passed.pcap
        chain:
          - ./my_nf.py
          - nf: ./my_nf.py
            name: second
            on_error: skip
            on_failure: open
            threshold: 20
            hosts: [a, b]
        stack: {tcp_timeout: 5m, udp_timeout: 500ms, held_bytes_per_flow: 2MiB, checksums: event}
        log: {slots: 8192}
        logs: {directory: logs, utc: true}
        """
    )
    second = chain.nfs[1]
    assert (second.name, second.on_error, second.on_failure) == ("second", "skip", "open")
    assert second.parameters == {"threshold": 20, "hosts": ["a", "b"]}
    assert chain.output == Path("passed.pcap")
    assert chain.settings["tcp_timeout"] == 300_000_000_000
    assert chain.settings["udp_timeout"] == 500_000_000
    assert chain.settings["held_bytes_per_flow"] == 2 << 20
    assert chain.settings["checksums"] == 1
    assert chain.settings["icmp_timeout"] == StackSettings().icmp_timeout
    assert (chain.log_slots, chain.log_directory, chain.utc) == (8192, Path("logs"), True)


def test_what_is_known_of_hosts(load: Load) -> None:
    chain = load(
        """
        input: capture.pcap
        chain: [flow_log]
        stack:
          hosts:
            - {network: 10.0.0.0/8, policy: linux, hops: 3}
            - {network: "2001:db8:0::/32", policy: windows, fragments: bsd}
            - {network: 192.0.2.1}
        """
    )
    assert chain.hosts == (
        HostNetwork("10.0.0.0/8", segments=3, fragments=3, hops=3),
        HostNetwork("2001:db8::/32", segments=4, fragments=2, hops=0),
        HostNetwork("192.0.2.1/32", segments=0, fragments=0, hops=0),
    )


def test_what_is_read_counts_from_the_file_and_what_is_written_from_here(
    folder: Path,
) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "chain.yaml").write_text(
        "input: ../capture.pcap\noutput: out.pcap\nchain: [../my_nf.py]\nlogs: {directory: logs}\n"
    )
    chain = load_chain(Path("deep/chain.yaml"))
    assert chain.input == Input((Path("capture.pcap"),))
    assert chain.nfs[0].source == Path("my_nf.py")
    assert chain.output == Path("out.pcap")
    assert chain.log_directory == Path("logs")
    assert chain.base == folder / "deep"


def test_the_command_line_goes_before_the_file(load: Load, folder: Path) -> None:
    (folder / "other.pcap").write_bytes(b"")
    overrides = Overrides(input=Input((Path("other.pcap"),)), log_directory=Path("here"), utc=True)
    chain = load("chain: [flow_log]\nlogs: {directory: there}\n", overrides)
    assert chain.input == Input((Path("other.pcap"),))
    assert chain.log_directory == Path("here")
    assert chain.utc


def test_an_alias_repeats_what_it_names(load: Load) -> None:
    chain = load(
        """
        input: capture.pcap
        chain:
          - {nf: ./my_nf.py, name: a, hosts: &hosts [x, y]}
          - {nf: ./my_nf.py, name: b, hosts: *hosts}
        """
    )
    assert chain.nfs[1].parameters == {"hosts": ["x", "y"]}


# --- mistakes ---


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_with_its_place(complaints: Complaints, mistake: str) -> None:
    text, expected = MISTAKES[mistake]
    assert expected in complaints(text)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_mistake_gives_one_error(complaints: Complaints, mistake: str) -> None:
    assert len(complaints(MISTAKES[mistake][0])) == 1


def test_all_mistakes_of_a_file_come_at_once(complaints: Complaints) -> None:
    errors = complaints(
        """\
        input: nothing.pcap
        chain:
          - flow_lgo
          - {nf: flow_log, on_error: stopp}
        stack: {checksum: on}
        """
    )
    places = [error.partition(": ")[0] for error in errors]
    assert places == ["chain.yaml:1:8", "chain.yaml:3:5", "chain.yaml:4:30", "chain.yaml:5:9"]


def test_an_nf_that_is_not_python_is_shown_with_its_own_line(
    complaints: Complaints, folder: Path
) -> None:
    (folder / "broken.py").write_text("class Broken:\n    def start(self:\n        pass\n")
    assert complaints("input: capture.pcap\nchain: [./broken.py]\n") == [
        "broken.py:2:14: this is not Python: '(' was never closed"
    ]


def test_a_file_that_is_not_there(folder: Path) -> None:
    (folder / "chain.yaml").write_text("")
    with pytest.raises(ChainErrors) as raised:
        load_chain(Path("chian.yaml"))
    assert str(raised.value) == (
        "chian.yaml: no such file; expected a chain file; did you mean 'chain.yaml'?"
    )


def test_a_directory_is_no_chain_file(folder: Path) -> None:
    with pytest.raises(ChainErrors, match=r"is a directory; expected a chain file"):
        load_chain(folder)


def test_a_file_that_is_not_text(folder: Path) -> None:
    (folder / "chain.yaml").write_bytes(b"input: \xff\n")
    with pytest.raises(ChainErrors, match=r"chain.yaml:1:1: byte 7 is not UTF-8; expected a chain"):
        load_chain(Path("chain.yaml"))


def test_an_input_of_the_command_line_that_is_not_there(complaints: Complaints) -> None:
    assert complaints("chain: [flow_log]\n", Overrides(input=Input((Path("captur.pcap"),)))) == [
        "-r: no such file 'captur.pcap'; expected a capture file (pcap or pcapng); "
        "did you mean 'capture.pcap'?"
    ]


def test_aliases_cannot_multiply_without_end(complaints: Complaints) -> None:
    levels = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
    (error,) = complaints("a0: &a0 x\n" + "\n".join(levels) + "\n")
    assert "more than 100,000 values, or nested more than 100 deep" in error


def test_an_alias_cannot_hold_itself(complaints: Complaints) -> None:
    (error,) = complaints("input: &a [*a]\n")
    assert "nested more than 100 deep" in error


def test_brackets_without_end(complaints: Complaints) -> None:
    (error,) = complaints("[" * 10_000)
    assert "nested more than 100 deep" in error


def test_digits_without_end(complaints: Complaints) -> None:
    errors = complaints(f"input: {'9' * 10_000}\nchain: [flow_log]\n")
    assert errors[0].startswith("chain.yaml:1:8: ")


PIECES = [
    *("input", "chain", "stack", "log", "nf", "name", ":", ": ", "- ", "[", "]", "{", "}", ","),
    *("\n", "  ", "&a ", "*a", "!!int ", "'", '"', "#", "|", "~", "1", "x", "0x", "1e9", "---\n"),
    *("sample.pcap", "flow_log", "./my_nf.py", "true", "<<", "? ", "\t", "\0", "é", "%YAML 1.1\n"),
]


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_no_text_is_too_odd_to_be_answered(folder: Path, text: str) -> None:
    (folder / "chain.yaml").write_text(text)
    reading = read_chain(Path("chain.yaml"))
    assert reading.errors or reading.chain
    assert all(error.line > 0 for error in reading.errors)


# --- instances ---


def test_an_entry_may_be_several_instances(load: Load) -> None:
    chain = load("""
        input: capture.pcap
        chain: [{nf: ./my_nf.py, instances: 3, spread_by: hosts}, flow_log]
    """)
    assert [nf.name for nf in chain.nfs] == ["my_nf.1", "my_nf.2", "my_nf.3", "flow_log"]
    assert [nf.entry for nf in chain.nfs] == ["my_nf", "my_nf", "my_nf", "flow_log"]
    spread = chain.nfs[1].spread
    assert spread is not None
    assert (spread.index, spread.count, spread.by) == (1, 3, "hosts")
    assert chain.nfs[0].parameters == {}


def test_one_instance_is_the_nf_itself(load: Load) -> None:
    chain = load("""
        input: capture.pcap
        chain: [{nf: ./my_nf.py, instances: 1}]
    """)
    assert [(nf.name, nf.spread) for nf in chain.nfs] == [("my_nf", None)]


@pytest.mark.parametrize("count", ["0", "65", "two", "1.5"])
def test_a_number_of_instances_that_makes_no_sense(complaints: Complaints, count: str) -> None:
    (error,) = complaints(f"""
        input: capture.pcap
        chain:
          - nf: ./my_nf.py
            instances: {count}
    """)
    assert error.startswith("chain.yaml:5:16: `chain[0].instances` is ")
    assert error.endswith("expected how many processes share out its flows, 1 to 64")


def test_flows_are_shared_out_by_what_is_known(complaints: Complaints) -> None:
    (error,) = complaints("""
        input: capture.pcap
        chain: [{nf: ./my_nf.py, instances: 2, spread_by: host}]
    """)
    assert "expected flow or hosts; did you mean 'hosts'?" in error


def test_no_other_nf_is_called_like_an_instance(complaints: Complaints) -> None:
    (error,) = complaints("""
        input: capture.pcap
        chain:
          - {nf: ./my_nf.py, instances: 2}
          - {nf: flow_log, name: my_nf.2}
    """)
    assert error.startswith("chain.yaml:5:26: two NFs are called 'my_nf.2', the first in line 4")


def test_a_parser_may_be_named(load: Load) -> None:
    chain = load("""
        input: capture.pcap
        chain: [{nf: http, instances: 2}, http_log]
    """)
    assert [nf.name for nf in chain.nfs] == ["http.1", "http.2", "http_log"]
    assert {nf.source.name for nf in chain.nfs[:2]} == {"http.py"}
