"""What the reference is made of at each build: lines of pages that begin with `<!-- generate:` are replaced.

| Line | What stands there in the built page |
|---|---|
| `<!-- generate: names PACKAGE [GROUP] -->` | a heading and the documentation of each of its public names |
| `<!-- generate: events -->` | the events of the Telemetry API with their fields |
| `<!-- generate: settings -->` | every settings class with its fields and defaults |
| `<!-- generate: command -->` | the command line, from the command itself |
| `<!-- generate: ship -->` | the variables of the ready-made extension |
| `<!-- generate: budget -->` | the sums of the time budget |
| `<!-- generate: errors -->` | the tree of errors |
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lambda_extension
from _generation import _command, _events, _names, _plain, _settings, _ship, _slim

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def _budget() -> str:
    """Return the sums of the time budget, as its module has them."""
    from lambda_extension import _budget as module

    _, _, sums = (module.__doc__ or "").partition("\n\n")
    return f"```text\n{sums.strip()}\n```"


GENERATORS = {
    "names": _names.names,
    "errors": _names.errors,
    "events": _events.events,
    "settings": _settings.settings,
    "command": _command.command,
    "ship": _ship.ship,
    "budget": _budget,
}
_ALIAS = re.compile(r"^(\w+): TypeAlias = ", re.MULTILINE)
_LINE = re.compile(r"^<!-- generate: (\w+)(.*?) -->$", re.MULTILINE)


def generate(page: str) -> str:
    """Replace the lines of a page that ask for something generated."""
    return _LINE.sub(lambda found: GENERATORS[found[1]](*found[2].split()), page)


def type_aliases() -> list[str]:
    """Return the names that the sources give to types."""
    sources = Path(lambda_extension.__path__[0]).rglob("*.py")
    return sorted({name for path in sources for name in _ALIAS.findall(path.read_text(encoding="utf-8"))})


def _read(_: Sphinx, __: str, source: list[str]) -> None:
    source[0] = generate(source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", _read)
    app.connect("builder-inited", lambda _: _names.load())
    app.connect("autodoc-process-signature", _names.tidy_signature)
    app.connect("autodoc-process-docstring", _names.keep_colons, priority=100)  # before napoleon
    app.connect("doctree-read", _names.say_attributes)
    app.connect("missing-reference", _names.resolve)
    app.add_role("linked", _names.linked)
    app.set_translator("html", _slim.Translator)
    _plain.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
