"""How Sphinx builds these pages; the reference of events is written from the tables first."""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference

project = "microbox"
release = importlib.metadata.version("microbox")
extensions = ["myst_nb", "inline_drawings", "short_names"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
# The notebook is run each time: what it shows is what it gives.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
html_theme = "furo"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["microbox.css"]
html_title = f"microbox {release}"
# Snippets of several dialects (chains, tables, C with macros) are shown as they are.
suppress_warnings = ["misc.highlighting_failure"]

reference.write(Path(__file__).parent / "reference")
