"""What pages mention in passing is there: benchmarks, examples, options of the command, extras."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pages import PAGES, ROOT

from lambda_extension.cli._commands import commands

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
AWS = "https://docs.aws.amazon.com/"
ABOUT_AWS = [
    "README.md",
    "docs/index.md",
    "docs/tutorial/index.md",
    "docs/tutorial/6-deploy.md",
    *(
        f"docs/howto/{name}.md"
        for name in (
            "container-images",
            "deployment",
            "internal",
            "managed-instances",
            "provisioned-concurrency",
            "snapstart",
        )
    ),
    "docs/explanation/life.md",
    "docs/explanation/back-pressure.md",
    "docs/reference/environment.md",
    "docs/reference/events.md",
    "docs/reference/logs.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_mentions_is_there(page: Path) -> None:
    text = page.read_text()
    modules = [name.replace(".", "/") for name in re.findall(r"python -m\s(benchmarks(?:\.\w+)*)", text)]
    assert [name for name in modules if not ((ROOT / f"{name}.py").exists() or (ROOT / name).is_dir())] == []
    places = re.findall(r"`(examples/[\w./-]+)`", text)
    assert [place for place in places if not (ROOT / place).exists()] == []
    extras = {each for found in re.findall(r"lambda-extension\[([\w,]+)\]", text) for each in found.split(",")}
    assert extras <= EXTRAS


@pytest.mark.parametrize("page", ["README.md", "docs/install.md"])
def test_each_extra_is_told_of(page: str) -> None:
    table = [line.split("|")[1] for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    assert EXTRAS - set(re.findall(r"`([\w-]+)`", "".join(table))) == set()


@pytest.mark.parametrize("page", ["docs/install.md", "docs/explanation/security.md"])
def test_what_the_core_is_said_to_need_is_what_it_depends_on(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    (said,) = re.findall(r"The core needs ([\w, ]+)", text)
    assert re.split(r", | and ", said) == [re.split(r"[^\w-]", each)[0] for each in PROJECT["dependencies"]]


@pytest.mark.parametrize("page", ABOUT_AWS)
def test_a_page_about_what_is_aws_s_leads_to_what_aws_says_of_it(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.search(rf"\]\({re.escape(AWS)}(?:lambda|serverless-application-model)/latest/[\w/-]+\.html\)", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_option_that_a_command_is_shown_with_is_one(page: Path) -> None:
    text = page.read_text().replace("\\\n", " ")
    for name, rest in re.findall(r"lambda-extension (simulate|serve|doctor|package|init)\b([^\n`|&]*)", text):
        known = {option for parameter in commands.commands[name].params for option in parameter.opts}
        known |= {option for parameter in commands.commands[name].params for option in parameter.secondary_opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known | {"--help"}, f"{name}{rest}"
