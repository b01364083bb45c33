"""redact: words in streams are written over, and nothing else is changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from microbox.testing import RunFailed, run_nf
from tests.conftest import Tshark
from tests.nf.conftest import MakeCapture, connection

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("MICROBOX_CORPUS", ROOT.parent / "shared" / "corpus"))
REQUESTS = CORPUS / "dev" / "zeek__http__bro.org.pcap"


def test_words_are_written_over_also_behind_a_cut(capture: MakeCapture) -> None:
    frames = connection([b"the password is secret", b" and sec", b"ret again"])
    result = run_nf("redact", capture(frames), words=["secret", "password"])
    texts = [one.data[54:] for one in result.output if one.data[54:]]
    assert texts == [b"the ******** is ******", b" and sec", b"*** again"]


def test_no_such_word_leaves(demo: Path, tshark: Tshark) -> None:
    before = tshark(demo, 'tcp contains "curl/7"', "frame.number")
    result = run_nf("redact", demo, words=["curl"])
    assert result.summary["redacted"] >= len(before) > 0
    assert not any(b"curl/7" in one.data for one in result.output)


def followed(capture: Path, streams: int) -> str:
    """What tshark puts together of each TCP stream, in hexadecimal."""
    wanted = [word for one in range(streams) for word in ("-z", f"follow,tcp,raw,{one}")]
    command = ["tshark", "-n", "-r", str(capture), "-q", *wanted]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(not REQUESTS.is_file(), reason=f"no corpus in {CORPUS}: see MICROBOX_CORPUS")
def test_tshark_puts_the_redacted_streams_together(capture: MakeCapture, tshark: Tshark) -> None:
    """Each stream of a browser's visit is as it was, with other letters in one word."""
    streams = len(set(tshark(REQUESTS, "tcp", "tcp.stream")))
    before = followed(REQUESTS, streams)
    word = b"User-Agent"
    result = run_nf("redact", REQUESTS, words=[word.decode()])
    assert result.summary["redacted"] == before.count(word.hex()) > 0
    after = followed(capture([one.data for one in result.output]), streams)
    assert after == before.replace(word.hex(), (b"*" * len(word)).hex())


def test_there_may_be_many_words_in_a_segment(capture: MakeCapture) -> None:
    result = run_nf("redact", capture(connection([b"no " * 400])), words=["no"])
    assert result.summary["redacted"] == 400
    assert b"** " * 400 in [one.data[54:] for one in result.output]


def test_a_mask_is_one_character(capture: MakeCapture) -> None:
    with pytest.raises(RunFailed, match="expected one character"):
        run_nf("redact", capture(connection([b"x"])), words=["a"], mask="ab")
