"""Every promise of the documentation names a test, and the test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "guarantees.md"


def promises() -> list[str]:
    """Give the last cell of each row of the table of promises."""
    table = PAGE.read_text(encoding="utf-8").partition("## What holds")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    return [row.rsplit("|", 2)[1].strip() for row in rows]


@pytest.mark.parametrize("cell", promises())
def test_the_test_of_a_promise_is_there(cell: str) -> None:
    named = re.fullmatch(r"`(tests/\S+\.py)::(test_\w+)`", cell)
    assert named is not None, cell
    tree = ast.parse((ROOT / named[1]).read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert named[2] in {function.name for function in functions}


def test_there_are_promises() -> None:
    assert len(promises()) > 30
    assert len(set(promises())) == len(promises())
