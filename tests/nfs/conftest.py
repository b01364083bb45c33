"""Captures of frames that a test can name, as the tests of the runner make them."""

from tests.nf.conftest import capture

__all__ = ["capture"]
