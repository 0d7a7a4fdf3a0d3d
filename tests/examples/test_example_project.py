"""The example project of the docs, in a pytest of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "examples" / "tested"


def test_the_tests_of_the_example_project_pass(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PROJECT, tmp_path / "project"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=100)
    assert "6 passed" in done.stdout, done.stdout + done.stderr


def test_the_docs_show_the_project_as_it_is() -> None:
    page = (PROJECT.parents[1] / "docs" / "howto" / "simulator.md").read_text()
    for name in ("counting.py", "tests/test_counting.py"):
        assert f"examples/tested/{name}" in page
