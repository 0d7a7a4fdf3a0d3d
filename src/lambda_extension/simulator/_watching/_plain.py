"""What others wrote, as text that is shown and never obeyed; pure."""

from __future__ import annotations

import unicodedata
from typing import Final

# Format characters that scripts need and that move nothing: the joiner and the non-joiner.
_HARMLESS: Final = frozenset("\u200c\u200d")


def plain(text: str) -> str:
    """Return `text` with every character that a terminal or a page would obey written as its escape sequence.

    Those are control characters, escape sequences with them, marks that turn the direction of writing, other
    characters that cannot be seen, and halves of surrogate pairs, which no terminal can encode.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or character in _HARMLESS or unicodedata.category(character) == "Zs":
        return character
    if character == "\t":
        return "    "
    return character.encode("unicode_escape").decode("ascii")
