"""What pages mention in passing is there: benchmarks, examples, options of the command, extras."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pages import PAGES, ROOT

from lambda_extension.cli._commands import commands

EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_mentions_is_there(page: Path) -> None:
    text = page.read_text()
    modules = [name.replace(".", "/") for name in re.findall(r"python -m\s(benchmarks(?:\.\w+)*)", text)]
    assert [name for name in modules if not ((ROOT / f"{name}.py").exists() or (ROOT / name).is_dir())] == []
    places = re.findall(r"`(examples/[\w./-]+)`", text)
    assert [place for place in places if not (ROOT / place).exists()] == []
    extras = {each for found in re.findall(r"lambda-extension\[([\w,]+)\]", text) for each in found.split(",")}
    assert extras <= EXTRAS


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_option_that_a_command_is_shown_with_is_one(page: Path) -> None:
    text = page.read_text().replace("\\\n", " ")
    for name, rest in re.findall(r"lambda-extension (simulate|serve|doctor|package|init)\b([^\n`|&]*)", text):
        known = {option for parameter in commands.commands[name].params for option in parameter.opts}
        known |= {option for parameter in commands.commands[name].params for option in parameter.secondary_opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known | {"--help"}, f"{name}{rest}"
