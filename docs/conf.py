"""Sphinx, told how to build these pages; ``make docs`` does."""

# ruff: noqa: INP001

from importlib.metadata import version as version_of

project = "asyncviews"
author = "The asyncviews developers"
copyright = f"2026, {author}"  # noqa: A001
release = version = version_of("asyncviews")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings write `names` in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"asyncviews {release}"
html_copy_source = False
html_show_sphinx = False
