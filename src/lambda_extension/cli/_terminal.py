"""Text for terminals: what others wrote is shown and never obeyed, and no word is broken at the edge."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias, final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lambda_extension.simulator._watching._plain import plain

# Text and its style.
Part: TypeAlias = tuple[str, str]

_WORD: Final = re.compile(r"(\s*)(\S+)")
_LEAST_WIDTH: Final = 20


def wrapped(parts: Sequence[Part], width: int, *, indent: int = 0) -> Iterator[Text]:
    """Yield lines of `width` columns; all but the first are indented, and no word is ever broken."""
    line: list[Part] = []
    used = 0
    for part, style in parts:
        for blanks, word in _WORD.findall(plain(part)):
            gap = blanks or (" " if line else "")
            if line and used + cell_len(gap) + cell_len(word) > width:
                yield Text.assemble(*line)
                line, used, gap = [], 0, " " * indent
            used += cell_len(gap) + cell_len(word)
            if line and line[-1][1] == style:  # one stretch of a style is one piece of text, blanks included
                line[-1] = (line[-1][0] + gap + word, style)
            else:
                line += [(gap, ""), (word, style)] if gap else [(word, style)]
    yield Text.assemble(*line)


@final
class Terminal:
    """Where a command prints: text that is escaped, wrapped between words, and coloured where that can be seen.

    Attributes:
        console: What progress bars need.

    Args:
        stderr: Print there instead of on standard output.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        self.console: Console = Console(
            file=sys.stderr if stderr else sys.stdout, markup=False, emoji=False, highlight=False
        )

    def said(self, who: str, text: str) -> None:
        """Print a line that somebody else wrote: whole, except where it would run over the edge of a terminal."""
        if self.console.is_terminal:
            self.paragraph((f"[{who}]", ""), (text, ""))
        else:
            print(f"[{who}] {plain(text)}", file=self.console.file, flush=True)

    def paragraph(self, *parts: Part, indent: int = 2) -> None:
        """Print parts of text as one paragraph, blanks between them."""
        for line in wrapped(parts, self.console.width, indent=indent):
            self._print(line)

    def notice(self, text: str) -> None:
        """Print something that is worth knowing and no error."""
        self.paragraph(("notice:", "bold yellow"), (text, ""))

    def figures(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Print labels and values in two columns, the values wrapped."""
        self._print(Text(plain(title), style="bold"))
        width = max(cell_len(plain(label)) for label, _ in rows) + 4
        for label, value in rows:
            head = Text(f"  {plain(label)}", style="dim")
            for line in wrapped([(value, "")], max(_LEAST_WIDTH, self.console.width - width)):
                head.pad_right(width - head.cell_len)
                self._print(head + line)
                head = Text()

    def _print(self, text: Text) -> None:
        # Wrapped already, or somebody else's: rich would break long words.
        self.console.print(text, soft_wrap=True)
