"""Sphinx configuration."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _generation import type_aliases

project = "lambda-extension"
author = "The lambda-extension developers"
copyright = f"2026, {author}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "_generation"]
html_theme = "furo"
html_title = "lambda-extension"
html_static_path = ["_static"]
html_css_files = ["site.css"]
exclude_patterns = ["_build", "_generation"]
myst_heading_anchors = 3
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# Written as their names, not as what they stand for; most are public, and link to where that is said.
autodoc_type_aliases = {name: name for name in type_aliases()}
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
default_role = "linked"
toc_object_entries = False
napoleon_use_ivar = True
nitpicky = True
# Types of other projects and private helpers: there is no inventory to resolve them against without a network.
nitpick_ignore_regex = [("py:.*", r"(?!lambda_extension\.).*")]
