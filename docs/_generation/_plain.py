"""Plain Markdown of each page, and `llms.txt`, beside the HTML: what people's assistants read."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _generation._names import with_defaults

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_COMMENT = re.compile(r"(?<!`)<!--.*?-->\n?", re.DOTALL)  # not one that is spoken of
_ROLE = re.compile(r"\{py:\w+\}`~?(?:[\w.]+\.)?(\w+)`")
_TITLED_ROLE = re.compile(r"\{py:\w+\}`([^`<]+) <[^`>]+>`")
_GLOSSARY = re.compile(r"```\{glossary\}\n(.*?)```\n", re.DOTALL)
_IMAGE = re.compile(r"(!\[[^\]]*\]\()([\w-]+\.(?:png|svg)\))")
_AUTODOC = re.compile(r"```\{eval-rst\}\n\.\. auto\w+:: ([\w.]+)\n(?:   :.*\n)*```\n")
_INCLUDED = re.compile(r"```\{literalinclude\} (\S+)\n(?:.*\n)*?```\n")
_PAGE = re.compile(r"```\{include\} (\S+)\n```\n")
_OTHER = re.compile(r"```\{(?:eval-rst|toctree)\}\n(?:.*\n)*?```\n")
_PRIVATE = re.compile(r"(?:[a-z_]\w*\.)+(?=[A-Z])")
_EMPTY_LINK = re.compile(r"\[\]\(([^)]*?)\.md\)")


def plain(page: str, folder: Path, *, images: str = "") -> str:
    """Return a page's Markdown without what only Sphinx understands.

    Args:
        page: The page, as generated.
        folder: Where it lies.
        images: Where the site has its images, from the page.
    """
    page = _IMAGE.sub(rf"\1{images}\2", page)
    page = _AUTODOC.sub(lambda found: _described(found[1]), page)
    page = _INCLUDED.sub(lambda found: f"```python\n{(folder / found[1]).read_text(encoding='utf-8')}```\n", page)
    page = _PAGE.sub(lambda found: (folder / found[1]).read_text(encoding="utf-8"), page)
    page = _OTHER.sub("", page)
    page = _GLOSSARY.sub(r"\1", page)
    page = _ROLE.sub(r"`\1`", _TITLED_ROLE.sub(r"`\1`", _COMMENT.sub("", page)))
    return re.sub(r"\n{3,}", "\n\n", _EMPTY_LINK.sub(r"[\1](\1.md)", page))


def _described(target: str) -> str:
    """Return the signature and the docstring of a public object, and of its public methods."""
    package, _, name = target.rpartition(".")
    found = getattr(importlib.import_module(package), name)
    parts = [_signed(name, found), inspect.getdoc(found) or ""]
    if inspect.isclass(found):
        for own, member in vars(found).items():
            if own.startswith("_") or not (inspect.isroutine(member) or isinstance(member, (property, classmethod))):
                continue
            parts.append(_signed(f"{name}.{own}", getattr(found, own)))
            parts.append(inspect.getdoc(member) or "")
    return "\n\n".join(filter(None, parts)) + "\n"


def _signed(name: str, found: Any) -> str:
    if isinstance(found, property):
        return f"**`{name}`** (property)"
    if inspect.isclass(found) and issubclass(found, enum.Enum):
        return f"**`{name}`**: " + ", ".join(f"`{member.name}`" for member in found)
    try:
        signature = str(_as_written(inspect.signature(found)))
    except (TypeError, ValueError):
        signature = ""
    return f"**`{name}{_PRIVATE.sub('', with_defaults(found, signature))}`**"


class _Written:
    """What is shown as it is written, without the quotes of text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _as_written(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature whose annotations are shown as they are in the source, though they are kept as text."""

    def written(annotation: Any) -> Any:
        return _Written(annotation) if isinstance(annotation, str) else annotation

    parameters = [each.replace(annotation=written(each.annotation)) for each in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=written(signature.return_annotation))


def _write(app: Sphinx, failure: Exception | None) -> None:
    """Write `PAGE.md` beside `PAGE.html`, and `llms.txt` that lists them by folder."""
    if failure is not None or app.builder.format != "html":
        return
    from _generation import generate  # which imports this module

    out, sources, lines = Path(app.outdir), Path(app.srcdir), []
    for docname in sorted(app.env.found_docs, key=lambda name: (name != "index", name)):
        source = sources / f"{docname}.md"
        images = "../" * docname.count("/") + "_images/"
        page = plain(generate(source.read_text(encoding="utf-8")), source.parent, images=images)
        (out / f"{docname}.md").write_text(page, encoding="utf-8")
        title = app.env.titles[docname].astext()
        folder = docname.partition("/")[0] if "/" in docname else ""
        lines.append((folder, f"- [{title}]({docname}.md)"))
    head = ["# lambda-extension", "", "> AWS Lambda extensions in Python, on trio or asyncio.", ""]
    for folder in dict.fromkeys(folder for folder, _ in lines):
        head += [f"## {folder.capitalize() or 'lambda-extension'}", ""]
        head += [line for where, line in lines if where == folder] + [""]
    (out / "llms.txt").write_text("\n".join(head), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Write them once the site is built."""
    app.connect("build-finished", _write)
