"""How Sphinx builds these pages: `make docs`. Nothing is fetched while it does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pycellbox

project = "pycellbox"
author = "The pycellbox developers"
copyright = f"2026, {author}"
version = release = pycellbox.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_nb"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "py:obj"  # every `name` of a docstring is a link; one that leads nowhere is an error
nitpicky = True

# ---- the reference, from the docstrings

autodoc_typehints = "none"  # the docstrings say it in words
autodoc_default_options = {
    "members": True,
    # What equations and solvers say to the inside; CONTRIBUTING.md tells who writes one.
    "exclude-members": "check, declare, equations, steady, holds_error, through_time",
}
autosummary_filename_map = {"pycellbox.fit": "pycellbox.fit-function"}  # beside pycellbox.Fit
numpydoc_show_class_members = False
# What is reported: all but examples, "see also" and a long text for every last function, a capital
# letter at the beginning of a description, which may be κ or u, and where the text begins (ruff's).
numpydoc_validation_checks = {"all", "EX01", "SA01", "ES01", "PR08", "RT04", "GL01"}
# An enumeration has parameters of its own, and an attribute the text of its class.
numpydoc_validation_exclude = {r"\.Ending$", r"\.CellBox\.mask$", r"\.(log_ratios|at_rest)$"}

# ---- pages that are executed: as a reader would run them, in an empty folder, with our command

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
os.environ["TQDM_DISABLE"] = "1"  # no bars of progress among the results
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# ---- looks

html_theme = "pydata_sphinx_theme"
html_title = "pycellbox"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "navbar_align": "left",
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "changelog": []}
