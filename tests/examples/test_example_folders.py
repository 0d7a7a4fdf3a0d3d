"""Every example has a README that can be followed, a test, and code that Lambda could start."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir() and any(path.rglob("*.py")))
DEPLOYED = [folder for folder in FOLDERS if folder.name != "deployment"]
READMES = sorted(EXAMPLES.rglob("README.md"))
TESTS = "".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_example_has_a_readme_and_a_test(folder: Path) -> None:
    assert (folder / "README.md").exists()
    assert f"]({folder.name}/README.md)" in (EXAMPLES / "README.md").read_text()
    scripts = [path for path in folder.rglob("*.py") if path.read_text().startswith("#!")]
    assert all(os.access(path, os.X_OK) for path in scripts)
    assert [path.name for path in scripts if path.name not in TESTS] == []


@pytest.mark.parametrize("folder", DEPLOYED, ids=lambda path: path.name)
def test_an_example_has_a_template_that_deploys_it_with_what_it_reads(folder: Path) -> None:
    readme = (folder / "README.md").read_text()
    assert "sam deploy --guided" in readme
    scripts = sorted(path for path in folder.glob("*.py") if path.read_text().startswith("#!"))
    names = [f"{script.stem}.yaml" for script in scripts] if len(scripts) > 1 else ["template.yaml"]
    assert sorted(path.name for path in folder.glob("*.yaml")) == names
    packaged = [script for script in scripts if f"lambda-extension package {script.name} " in readme]
    assert packaged or not scripts  # an internal one goes with its function
    for script, name in zip(scripts, names, strict=True) if scripts else ():
        template, needed = (folder / name).read_text(), re.findall(r'environ\["(\w+)"\]', script.read_text())
        own = {variable for variable in needed if not variable.startswith("AWS_LAMBDA_")}
        assert f"ContentUri: {script.stem}.zip\n" in template
        assert {variable for variable in own if f"          {variable}: " not in template} == set()
        if script in packaged:
            assert {variable for variable in own if f"--trial-env {variable}=" not in readme} == set()


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_links_of_a_readme_lead_somewhere(readme: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", readme.read_text())
    assert [link for link in links if "://" not in link and not (readme.parent / link).exists()] == []
