"""Writes docs/evasion.md."""

from attacks import LIST, listing

LIST.write_text(listing())
