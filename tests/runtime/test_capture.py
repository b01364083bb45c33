"""A file that is no capture is refused with its name, before anything is started."""

import os
import shutil
from pathlib import Path

import pytest

from microbox.runtime.errors import USAGE, InputError
from microbox.runtime.inputs.capture import open_capture, open_output


def test_a_capture_is_opened(sample: Path) -> None:
    capture = open_capture(sample)
    assert os.fstat(capture.fd).st_size == sample.stat().st_size
    assert capture.warning == ""
    os.close(capture.fd)


def test_each_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("this is no capture")
    os.mkfifo(tmp_path / "pipe")
    for name in ("empty", "text", "pipe", "nothing", "."):
        with pytest.raises(InputError, match=str(tmp_path)) as caught:
            open_capture(tmp_path / name)
        assert caught.value.status == USAGE


def test_the_output_is_emptied_but_never_the_input(tmp_path: Path, sample: Path) -> None:
    shutil.copy(sample, tmp_path / "in.pcap")
    (tmp_path / "link.pcap").symlink_to(tmp_path / "in.pcap")
    (tmp_path / "out.pcap").write_text("old")
    capture = open_capture(tmp_path / "in.pcap").fd
    with pytest.raises(InputError, match="is the input"):
        open_output(tmp_path / "link.pcap", capture)
    assert (tmp_path / "in.pcap").stat().st_size == sample.stat().st_size
    output = open_output(tmp_path / "out.pcap", capture)
    assert (tmp_path / "out.pcap").stat().st_size == 0
    for fd in (capture, output):
        os.close(fd)


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path, sample: Path) -> None:
    capture = open_capture(sample).fd
    with pytest.raises(InputError, match="cannot be written"):
        open_output(tmp_path / "no" / "such" / "folder.pcap", capture)
    os.close(capture)
