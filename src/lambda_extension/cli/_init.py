"""`lambda-extension init`: a project to start from, made of the files below `_templates`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import click
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lambda_extension.cli._terminal import Terminal
from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._layer import check_name

_ROOT: Final = Path(__file__).parent / "_templates"
# What the files say in place of the name, so that they can be read, and checked, as they are.
_PLACEHOLDER: Final = "my-extension"
# What extensions, layers (no dot) and projects (a letter or a digit at both ends) may all be called.
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")


def init(name: str, template: str) -> None:
    """Write a project into a new or empty folder of that name, and say how to go on.

    Raises:
        click.ClickException: Nothing can be called that, or the folder is not empty.
    """
    _check_name(name)
    files = _files(template)
    texts = {path: file.read_text(encoding="utf-8").replace(_PLACEHOLDER, name) for path, file in files.items()}
    _check_dependencies(name, texts[Path("pyproject.toml")])
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{name} is here already, and is not an empty folder: choose another name, or move it away"
        raise click.ClickException(msg)
    for path, text in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    terminal = Terminal()
    terminal.paragraph((f"{name}:", "bold"), (f"{', '.join(sorted(map(str, texts)))}", ""))
    terminal.paragraph((f"README.md in {name} has the commands to test, try, package and deploy it.", ""))


def _files(template: str) -> dict[Path, Path]:
    """Return the files of a template by their paths in the project: what all have in common, and its own over that."""
    found = {}
    for root in (_ROOT / "common", _ROOT / template):
        for file in sorted(root.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                found[file.relative_to(root)] = file
    return found


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        msg = f"{name!r} is no extension's name: use ASCII letters and digits, and '-' and '_' between them"
        raise click.ClickException(msg)
    try:
        check_name(name)
    except PackagingError as error:
        raise click.ClickException(str(error)) from None


def _check_dependencies(name: str, project: str) -> None:
    """Refuse what a dependency is called: no project can depend on itself."""
    table = tomllib.loads(project)
    asked = [*table["project"]["dependencies"], *table["dependency-groups"]["dev"]]
    if canonicalize_name(name) in {canonicalize_name(Requirement(line).name) for line in asked}:
        msg = f"{name!r} is what the extension needs, and no project can need itself: choose another name"
        raise click.ClickException(msg)
