"""Configuration of Sphinx: `make docs` builds the site, without a network."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The checkout's own packages, whatever is installed, and the two extensions beside this file.
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "extensions")]

project = "ternary-studies"
author = "The ternary-studies maintainers"
copyright = f"{author}, MIT licence"
with (ROOT / "pyproject.toml").open("rb") as _file:
    version = release = tomllib.load(_file)["project"]["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docstring_markup",
    "offline",
]
exclude_patterns = ["_build", "results/notes"]
highlight_language = "none"  # indented blocks are commands and their output

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3

napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False  # a return value's text may hold a colon without naming a type
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
default_role = "py:obj"  # `name` in a docstring links to it where there is such a name

nitpicky = True
nitpick_ignore_regex = [
    # Other projects' types: only their own sites could resolve them.
    (r"py:class", r"(torch|lightning|pl|numpy|np|nn|optuna|collections|pathlib|os|abc)\..*"),
    # Types of ours that stand in signatures and are not public.
    (r"py:class", r"(initializers|lightning_modules|datamodules|studies)\.[\w.]+"),
    # Types that are imported for type checkers alone stand there without their module.
    (r"py:class", r"[A-Z]\w*"),
    # Words in single backticks that name no object: an option, a file, a method at hand.
    (r"py:obj", r".*"),
]

linkcheck_timeout = 15
linkcheck_workers = 2
