"""Signatures without a span around each word, which would be half of a reference page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sphinx.writers.html5 import HTML5Translator

if TYPE_CHECKING:
    from docutils.nodes import Element


class Translator(HTML5Translator):
    """Sphinx's own, except that words of signatures are not wrapped against line breaks."""

    def visit_desc_signature(self, node: Element) -> None:
        super().visit_desc_signature(node)
        self.protect_literal_text -= 1

    def depart_desc_signature(self, node: Element) -> None:
        self.protect_literal_text += 1
        super().depart_desc_signature(node)

    def visit_desc_sig_space(self, node: Element) -> None:
        """A space is a space."""

    def depart_desc_sig_space(self, node: Element) -> None:
        """Nothing was begun."""

    def visit_desc_sig_punctuation(self, node: Element) -> None:
        """Themes give punctuation no look of its own."""

    def depart_desc_sig_punctuation(self, node: Element) -> None:
        """Nothing was begun."""
