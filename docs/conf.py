"""Sphinx configuration."""

from __future__ import annotations

project = "lambda-extension"
author = "The lambda-extension developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["_build"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_use_ivar = True
nitpicky = True
# Types of other projects and private helpers: there is no inventory to resolve them against without a network.
nitpick_ignore_regex = [("py:.*", r".*")]
