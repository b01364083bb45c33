"""The examples of docs/guide that are NFs run."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from microbox.nf.load import load_class
from microbox.testing import run_nf
from microbox.testing.packets import ACK
from tests.nf.conftest import CLIENT, SERVER, MakeCapture, connection, tcp, udp

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    example
    for page in ("conditions.md", "writing-an-nf.md")
    for example in re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/guide" / page).read_text(), re.M | re.S
    )
]


def example(name: str, folder: Path) -> Any:
    """The class `name`, from a file of its own."""
    code = next(one for one in EXAMPLES if f"class {name}(NetworkFunction)" in one)
    path = folder / f"{name.lower()}_example.py"
    path.write_text(code)
    return load_class(path)


def test_telnet_is_refused(capture: MakeCapture, tmp_path: Path) -> None:
    path = capture(connection([b"x"]))
    result = run_nf(example("BlockTelnet", tmp_path), path)
    assert (len(result.alerts), len(result.output)) == (0, 7)


def test_transfers_are_written(capture: MakeCapture, tmp_path: Path) -> None:
    (record,) = run_nf(example("Transfers", tmp_path), capture(connection([b"abc"]))).records
    assert (record["sent"], record["received"], record["reason"]) == (3, 0, "fin")
    assert record["seconds"] > 0


def test_words_are_seen_and_the_flow_is_left(capture: MakeCapture, tmp_path: Path) -> None:
    path = capture(connection([b"user", b"password", b"password"]))
    owner = example("FirstBytes", tmp_path)
    assert len(run_nf(owner, path).alerts) == 1
    assert not run_nf(owner, path, limit=3).alerts
    assert not run_nf(owner, path, word="secret").alerts


def test_banners_are_written_and_the_rest_is_left(capture: MakeCapture, tmp_path: Path) -> None:
    banner = [tcp(ACK, 501, 101, b"220 ready\r\n", back=True)]
    banner += [tcp(ACK, 512 + n, 101, b"x", back=True) for n in range(50)]
    frames = connection([])
    path = capture([*frames[:3], *banner, *frames[3:]])
    result = run_nf(example("Banners", tmp_path), path, stack={"command_delay": 8})
    assert result.records[0]["banner"] == "220 ready"
    assert result.counters["stream_bytes"] == 11 + 7


def test_greetings_are_published(capture: MakeCapture, tmp_path: Path) -> None:
    path = capture(connection([b"SSH-2.0-x\r\n", b"more\n"]))
    (greeting,) = run_nf(example("Greetings", tmp_path), path).published
    assert (greeting.line, greeting.length) == ("SSH-2.0-x", 10)


def test_requests_are_filtered_in_the_stack(capture: MakeCapture, tmp_path: Path) -> None:
    path = capture(connection([b"GET / HTTP/1.1\r\n", b"PUT ", b"GET "]))
    result = run_nf(example("Gets", tmp_path), path)
    assert len(result.alerts) == 1
    assert result.counters["conditions_run"] == 3


def test_a_handshake_is_slow_by_its_age(capture: MakeCapture, tmp_path: Path) -> None:
    owner = example("SlowHandshakes", tmp_path)
    assert not run_nf(owner, capture(connection([b"x"]))).alerts
    slow = capture(connection([b"x"]), spacing=150_000_000)  # nanoseconds between packets
    (alert,) = run_nf(owner, slow).alerts
    assert alert.signature == "slow_handshake"


def test_big_segments_are_published(capture: MakeCapture, tmp_path: Path) -> None:
    path = capture(connection([b"x" * 1001, b"x" * 1000, b"x" * 1400]))
    published = run_nf(example("BigSegments", tmp_path), path).published
    assert [one.size for one in published] == [1001, 1400]


def test_a_service_is_asked_about_addresses(capture: MakeCapture, tmp_path: Path) -> None:
    class Service(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"bad\n" if self.rfile.readline() == b"10.0.0.2\n" else b"good\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        path = capture(connection([b"x"]))
        result = run_nf(example("AskAbout", tmp_path), path, port=server.server_address[1])
        server.shutdown()
        thread.join()
    assert result.output == []


def test_the_flow_is_sent_to_the_new_server(capture: MakeCapture, tmp_path: Path) -> None:
    old, new = socket.inet_aton("192.0.2.10"), socket.inet_aton("198.51.100.7")
    frames = [one.replace(socket.inet_aton(SERVER), old) for one in connection([b"x"])]
    result = run_nf(example("Relay", tmp_path), capture(frames))
    assert len(result.output) == len(frames)
    for before, after in zip(frames, result.output, strict=True):
        assert (old in before, old in after.data, new in after.data) == (True, False, True)


def test_a_packet_is_marked_and_a_word_hidden(tmp_path: Path, capture: MakeCapture) -> None:
    phone = udp(b"a secret word").replace(socket.inet_aton(CLIENT), bytes([192, 0, 2, 70]))
    marked, other = run_nf(example("Mark", tmp_path), capture([phone, udp(b"secret")])).output
    assert marked.data[12:20] == bytes.fromhex("8100a014080045b8")
    assert marked.data.endswith(b"a ****** word")
    assert other.data == udp(b"secret")


def test_what_an_nf_needs_is_what_its_class_says(tmp_path: Path) -> None:
    owner = example("Reputation", tmp_path)
    assert (owner.files, owner.writes, owner.network) == (
        ["./lists/*.txt"],
        ["./seen.json"],
        True,
    )


def test_the_last_example_is_a_test_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    module = ModuleType("guide")
    module.__dict__["Volume"] = example("Volume", tmp_path)
    exec(EXAMPLES[-1], module.__dict__)
    module.test_the_capture_is_counted()


def test_all_examples_are_tested() -> None:
    classes = [name for one in EXAMPLES for name in re.findall(r"class (\w+)\(Net", one)]
    code = Path(__file__).read_text()
    assert all(f'example("{name}"' in code for name in classes)
