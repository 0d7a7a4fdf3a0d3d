"""The pages of README, docs and examples as the tests see them: blocks of code, and what the comment above each says.

| Comment above a block | What it is |
|---|---|
| none | Python: a script that is run as an extension; console: commands with what they print |
| `<!-- program -->` | Python that is run as an ordinary program |
| `<!-- pytest -->` | Python that pytest runs |
| `<!-- file: NAME -->` | a file, in any language, for the blocks below it |
| `<!-- within:` ... `-->` | Python that replaces the line `[snippet]` of a script; `within program:` of a program |
| `<!-- before: COMMANDS -->` | console: run first, and not shown |
| `<!-- background -->` | console: one command, which stays until the end of the page; what is shown is waited for |
| `<!-- exit: 1 -->` | console: the last command ends with this status |
| `<!-- not run: REASON -->` | neither Python nor console is run, and why |
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[2]
# A site that was built holds each page once more, as plain Markdown.
OF_THE_SITE: Final = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts]
PAGES: Final = [
    ROOT / "README.md",
    *OF_THE_SITE,
    *sorted((ROOT / "examples").rglob("README.md")),
]
RUNNABLE: Final = {"python", "py", "pycon", "console"}

_FENCE: Final = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,}) *(?P<language>\S*)(?P<rest>.*)$")
_COMMENT: Final = re.compile(r"<!--\s*(.*?)\s*-->\s*$", re.DOTALL)
_DIRECTIVE: Final = re.compile(
    r"(?P<what>program|pytest|file|before|background|within program|within|exit|not run)(?::\s*(?P<value>.*))?$",
    re.DOTALL,
)


@attrs.frozen(kw_only=True)
class Block:
    """A block of code in a page.

    Attributes:
        page: The path of the page, from the root of the repository.
        line: Of its first line of code.
        language: As the fence names it.
        code: Without the indentation of the fence.
        directives: What the comments above it say: `program`, `file` and so on, with their values.
    """

    page: str
    line: int
    language: str
    code: str
    directives: dict[str, str]

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def kind(self) -> str:
        """What the tests do with it: `extension`, `program`, `pytest`, `file`, `console`, `not run`, or nothing, ``."""
        for kind in ("not run", "file"):
            if kind in self.directives:
                return kind
        if self.language in {"console", "pycon"}:
            return self.language
        if self.language not in {"python", "py"}:
            return ""
        for kind in ("program", "pytest"):
            if kind in self.directives or f"within {kind}" in self.directives:
                return kind
        return "extension"

    @property
    def script(self) -> str:
        """The code, within what the comment above it puts around it."""
        around = self.directives.get("within") or self.directives.get("within program")
        if around is None:
            return self.code
        place = re.search(r"^( *)\[snippet\]$", around, re.MULTILINE)
        assert place is not None, f"{self.where}: no line [snippet]"
        return (
            around[: place.start()] + textwrap.indent(self.code.rstrip("\n"), place[1]) + around[place.end() :] + "\n"
        )


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of code of a page, in order.

    Raises:
        ValueError: A comment above a block says what nobody understands.
    """
    return list(_blocks(page.relative_to(ROOT).as_posix(), page.read_text().splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    containers: list[str] = []  # fences of directives such as tabs, which have blocks within
    at = 0
    while at < len(lines):
        found = _FENCE.match(lines[at])
        at += 1
        if found is None:
            continue
        ticks, language = found["ticks"], found["language"]
        if not language and containers and ticks == containers[-1]:
            containers.pop()
            continue
        if language.startswith("{") and language != "{code-block}":
            containers.append(ticks)
            continue
        start = at
        while not re.fullmatch(rf" *{ticks[0]}{{{len(ticks)},}} *", lines[at]):
            at += 1
        code = textwrap.dedent("\n".join(lines[start:at]) + "\n")
        directives = dict(_directives(lines[: start - 1], f"{page}:{start}"))
        if language == "{code-block}":  # with options, such as a caption
            language = found["rest"].strip()
            code = re.sub(r"\A(:\S+:.*\n)+\n?", "", code)
        yield Block(page=page, line=start + 1, language=language, code=code, directives=directives)
        at += 1


def _directives(above: list[str], where: str) -> Iterator[tuple[str, str]]:
    while above and above[-1].rstrip().endswith("-->"):
        start = next(i for i in range(len(above) - 1, -1, -1) if "<!--" in above[i])
        comment = _COMMENT.search("\n".join(above[start:]))
        assert comment is not None
        directive = _DIRECTIVE.match(comment[1])
        if directive is None:
            raise ValueError(f"{where}: nobody understands {comment[1]!r}")
        yield directive["what"], directive["value"] or ""
        above = above[:start]


@attrs.frozen(kw_only=True)
class Command:
    """A command of a console block, and what the block shows of its output; `None` shows nothing of any."""

    text: str
    shown: str | None


def commands_of(block: Block) -> list[Command]:
    """Return what a console block types; where no line begins with `$ `, each line is a command."""
    lines = block.code.splitlines()
    if not any(line.startswith("$ ") for line in lines):
        return [Command(text=line, shown=None) for line in lines if line]
    commands: list[tuple[list[str], list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            commands.append(([line[2:]], []))
        elif commands and not commands[-1][1] and commands[-1][0][-1].endswith("\\"):
            commands[-1][0].append(line.removeprefix("> "))
        else:
            assert commands, f"{block.where}: output before the first command"
            commands[-1][1].append(line)
    shows = any(shown for _, shown in commands)
    return [Command(text="\n".join(typed), shown="\n".join(shown) if shows else None) for typed, shown in commands]


def matches(shown: str, printed: str) -> bool:
    """Compare what a page shows with what was printed: `…` is any text, a line that is `…` alone any lines."""
    wanted, lines = _lines(shown), _lines(printed)
    ends = {0}  # how many printed lines the shown ones so far may stand for
    for line in wanted:
        if line.strip() == "…":
            ends = set(range(min(ends, default=len(lines) + 1), len(lines) + 1))
        else:
            ends = {end + 1 for end in ends if end < len(lines) and _is_like(line, lines[end])}
    return len(lines) in ends


def _lines(text: str) -> list[str]:
    """Return the lines without what nobody sees: spaces at their ends, and empty ones above and below."""
    lines = [line.rstrip() for line in text.splitlines()]
    full = [at for at, line in enumerate(lines) if line]
    return lines[full[0] : full[-1] + 1] if full else []


def _is_like(shown: str, line: str) -> bool:
    first, *others = shown.split("…")
    if not others:
        return shown == line
    if not line.startswith(first):
        return False
    at = len(first)
    for part in others[:-1]:
        at = line.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(line) - len(others[-1]) >= at and line.endswith(others[-1])
