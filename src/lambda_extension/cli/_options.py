"""Types of options: what users type, checked before anything runs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from lambda_extension.cli._faults import parse_fault
from lambda_extension.early import wanted_events

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LAYER = click.Path(exists=True, path_type=Path)


class FaultType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """Something that is to go wrong."""

    name = "fault"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        try:
            return parse_fault(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NamesType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # as above
    """A name, or several with commas between."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read them."""
        names = tuple(part for part in map(str.strip, value.lower().split(",")) if part)
        if not names:
            self.fail("it names nothing", param, ctx)
        return names


class EventsType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # as above
    """What to register for, with commas between."""

    name = "events"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Refuse what the API does not have."""
        try:
            return wanted_events([part.strip().upper() for part in value.split(",")], managed_instance=False)
        except ValueError as error:
            self.fail(f"{error}: it is INVOKE, SHUTDOWN or both, with a comma between", param, ctx)


class OutputType(click.Path):
    """A file to be written: that its folder is missing is found before the run, not after it."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the file and its folder."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.absolute().parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r} to write {path.name!r} into", param, ctx)
        return path


class EnvironmentType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # as above
    """A variable with its value, or the name of one that is set outside."""

    name = "variable"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read it."""
        name, equals, text = value.partition("=")
        if not name:
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        if equals:
            return name, text
        if name not in os.environ:
            self.fail(f"{name} is not set outside: give it a value by {name}=VALUE", param, ctx)
        return name, os.environ[name]


def environment_option(flag: str, name: str, meaning: str) -> Callable[[F], F]:
    """Return an option that gives variables, any number of them."""
    return click.option(flag, name, multiple=True, type=EnvironmentType(), metavar="NAME[=VALUE]", help=meaning)


class FunctionType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # as above
    """A Python handler, or an executable that is a runtime."""

    name = "function"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | tuple[str]:
        """Return a handler as it is, and an executable as a command line, since its path may have a colon too."""
        path = Path(value)
        if path.is_file():
            return (str(path.absolute()),)
        if path.is_dir() and (path / "bootstrap").is_file():
            return (str((path / "bootstrap").absolute()),)
        if ":" not in value:
            self.fail(f"{value!r} is neither MODULE:FUNCTION nor the path of a bootstrap", param, ctx)
        return str(value)


class HeaderType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # as above
    """The value of an HTTP header."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what no header can have."""
        if not (value.isascii() and value.isprintable()):
            self.fail("a header's value is printable ASCII", param, ctx)
        return str(value)


def environment_of(variables: Sequence[tuple[str, str]], files: Sequence[Path]) -> Mapping[str, str]:
    """Put variables of files and of options together; options overrule files, later ones earlier ones.

    Raises:
        click.BadParameter: A file has a line that is no variable; what it says is not repeated, it may be a secret.
    """
    found: dict[str, str] = {}
    for path in files:
        found |= _read_file(path)
    return found | dict(variables)


def _read_file(path: Path) -> dict[str, str]:
    from dotenv.parser import parse_stream  # part of the extra, and rarely needed

    found = {}
    try:
        bindings = list(parse_stream(io.StringIO(path.read_text(encoding="utf-8"))))
    except UnicodeDecodeError:
        msg = f"{path.name} is not UTF-8"
        raise click.BadParameter(msg, param_hint="--env-file") from None
    for binding in bindings:
        if binding.error or (binding.key is not None and (binding.value is None or "\0" in binding.value)):
            msg = f"{path.name}, line {binding.original.line} is not NAME=VALUE"
            raise click.BadParameter(msg, param_hint="--env-file")
        if binding.key is not None:
            found[binding.key] = str(binding.value)
    return found
