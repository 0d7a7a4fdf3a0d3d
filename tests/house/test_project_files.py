"""What a public project has beside its code: one version everywhere, workflows that run each gate and trust nobody."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lambda_extension.otel._encoders import VERSION

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

of_workflows = pytest.mark.skipif(not WORKFLOWS, reason="a source distribution has no workflows")


def test_the_version_is_said_once_and_repeated_truly() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text()
    released = re.search(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released is not None
    assert f"\nversion: {version}\n" in citation
    assert f'\ndate-released: "{released[2]}"\n' in citation
    assert released[1] == version == VERSION


@of_workflows
@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_nothing_is_permitted_that_is_not_needed(workflow: Path) -> None:
    text = workflow.read_text()
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each) for each in uses), uses
    assert "\npermissions: {}\n" in text
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")
    # What a stranger may have written is never part of a command.
    assert not [line for line in re.findall(r"run: .*", text) if "${{" in line]


@of_workflows
def test_the_same_action_is_pinned_to_the_same_commit_everywhere() -> None:
    pins = {tuple(each.split("@", 1)) for path in WORKFLOWS for each in re.findall(r"uses: (.*)", path.read_text())}
    assert len({action for action, _ in pins}) == len(pins)


@of_workflows
def test_recipes_pin_the_actions_that_are_used_here() -> None:
    used = {each for path in WORKFLOWS for each in re.findall(r"uses: (.*)", path.read_text())}
    pages = [page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts]
    shown = [each for page in pages for each in re.findall(r"uses: (.*)", page.read_text())]
    assert shown
    assert set(shown) <= used


@of_workflows
@pytest.mark.parametrize("form", ["bug", "feature"])
def test_an_issue_s_form_asks_for_something_and_says_what_must_be_there(form: str) -> None:
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml").read_text()
    assert re.match(r"name: .+\ndescription: .+\n(?:\w+: .+\n)*body:\n", text)
    asked = re.findall(r"^    id: (\w+)$", text, re.MULTILINE)
    assert len(set(asked)) == len(asked) >= 1
    assert "required: true" in text
    assert (ROOT / "SECURITY.md").exists()


@of_workflows
def test_ci_runs_every_gate() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    matrix = re.search(r"session: \[(.*)\]", text)
    assert matrix is not None
    run = {*matrix[1].split(", "), *re.findall(r"nox -s ([a-z_ ]+)$", text, re.MULTILINE)}
    gates = re.search(r"nox\.options\.sessions = \[(.*?)\]", (ROOT / "noxfile.py").read_text(), re.DOTALL)
    assert gates is not None
    assert set(re.findall(r'"(\w+)"', gates[1])) <= {name for each in run for name in each.split()}
