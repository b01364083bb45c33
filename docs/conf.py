"""How Sphinx builds these pages; the reference of events is written from the tables first."""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference

project = "microbox"
release = importlib.metadata.version("microbox")
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"microbox {release}"
# Snippets of several dialects (chains, tables, C with macros) are shown as they are.
suppress_warnings = ["misc.highlighting_failure"]

reference.write(Path(__file__).parent / "reference")
