"""An older Python is told which one is needed, not which name of the standard library it lacks."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lambda_extension

HEAD = Path(lambda_extension.__file__)
OLDER = [*Path("~/.pyenv/versions").expanduser().glob("3.10.*/bin/python"), Path("/usr/bin/python3.10")]


def imported_by(python: Path | str, before: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": str(HEAD.parent.parent)}
    command = [str(python), "-c", f"{before}\nimport lambda_extension"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_the_head_of_the_package_says_which_python_it_needs() -> None:
    line = imported_by(sys.executable, "import sys; sys.version_info = (3, 10, 13, 'final', 0)")
    assert line == "ImportError: lambda-extension needs Python 3.11 or later; this is 3.10"


def test_the_head_of_the_package_can_be_read_by_an_older_one() -> None:
    ast.parse(HEAD.read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.skipif(not any(path.exists() for path in OLDER), reason="there is no Python 3.10 here")
def test_a_real_python_3_10_says_it() -> None:
    python = next(path for path in OLDER if path.exists())
    assert imported_by(python) == "ImportError: lambda-extension needs Python 3.11 or later; this is 3.10"
