"""Every example has a README that can be followed, a test, and code that Lambda could start."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir() and any(path.rglob("*.py")))
READMES = sorted(EXAMPLES.rglob("README.md"))
TESTS = "".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_example_has_a_readme_and_a_test(folder: Path) -> None:
    assert (folder / "README.md").exists()
    assert f"]({folder.name}/README.md)" in (EXAMPLES / "README.md").read_text()
    scripts = [path for path in folder.rglob("*.py") if path.read_text().startswith("#!")]
    assert all(os.access(path, os.X_OK) for path in scripts)
    assert [path.name for path in scripts if path.name not in TESTS] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_links_of_a_readme_lead_somewhere(readme: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", readme.read_text())
    assert [link for link in links if "://" not in link and not (readme.parent / link).exists()] == []
