"""Configuration of Sphinx for ``make docs``."""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the scripts that generate parts of the pages
os.environ.setdefault("ELBOROOM_CACHE", str(HERE / "_build" / "cache"))  # not the user's cache

import generated  # noqa: E402

import elboroom  # noqa: E402

project = "elboroom"
author = copyright = "the elboroom developers"
version = release = elboroom.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "_generated/*.part.md"]
html_extra_path = ["_generated/pages"]  # copied as they are
html_theme = "furo"
html_title = "elboroom"

# MathJax renders formulas in the browser; without a network they remain readable as TeX.
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

# Every build runs all tutorials; an error in one of them fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types and shapes are in the docstrings
autodoc_class_signature = "mixed"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Names of other projects, whose documentation an offline build cannot look up, and words that docstrings use
# in place of a type.
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|np|numpy|nn|matplotlib|pydantic|pathlib|PIL|zuko|filelock)(\..*)?"),
    (r"py:(class|exc|obj)", r"(?!elboroom\.).*"),
    (r"py:class", r"elboroom\.probability\.columns\.family\.ColumnFamily"),  # a base that has no page
]

generated.write_all(HERE)


def _escape_stars(_app, _what, _name, _obj, _options, lines: list[str]) -> None:
    """Escape ``(n, *shape)`` and ``|x|`` in docstrings, which reStructuredText would read as markup."""
    lines[:] = [re.sub(r"(?<![\\*`\w])\*(?=[a-z_])", r"\\*", line).replace("|", r"\|") for line in lines]


def setup(app) -> None:
    """Connect the docstring filter; called by Sphinx."""
    app.connect("autodoc-process-docstring", _escape_stars)
