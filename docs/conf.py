"""Sphinx builds the documentation from this: ``make docs``."""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the scripts that draw and write parts of the pages
os.environ.setdefault("ELBOROOM_CACHE", str(HERE / "_build" / "cache"))  # tutorials leave the user's alone

import generated  # noqa: E402

import elboroom  # noqa: E402

project = "elboroom"
author = "the elboroom developers"
version = release = elboroom.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "_generated/*.part.md"]
html_theme = "furo"
html_title = "elboroom"

# Formulas are set by MathJax from a page's own text; without the network they stay readable as TeX.
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

# Tutorials are run from top to bottom at every build, and an error in one fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types and shapes stand in the docstrings
autodoc_class_signature = "separated"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Names of other projects, whose documentation a build without the network cannot look up, and the words that
# numpydoc puts where a type stands.
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|np|numpy|nn|matplotlib|pydantic|pathlib|PIL|zuko|filelock)(\..*)?"),
    (r"py:(class|exc|obj)", r"(?!elboroom\.).*"),
]

generated.write_all(HERE)


def _escape_stars(_app, _what, _name, _obj, _options, lines: list[str]) -> None:
    """Let ``(n, *shape)`` and ``|x|`` in a docstring be text, and no markup of reStructuredText."""
    lines[:] = [re.sub(r"(?<![\\*`\w])\*(?=[a-z_])", r"\\*", line).replace("|", r"\|") for line in lines]


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _escape_stars)
