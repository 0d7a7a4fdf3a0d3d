"""Tests that cannot lie: one that sleeps says, behind the call, why time is its subject; none skips what it asserts."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
# What waits in their place.
ELSEWHERE = {"waiting.py"}
VIRTUAL = re.compile(r"^(import|from) virtual_time\b", re.MULTILINE)
SLEEP = re.compile(r"((anyio|asyncio|time|trio)\.)?sleep")


def sleeps(source: str) -> Iterator[str]:
    """Give each call that sleeps for more than no time and has no reason behind it; none where time is virtual."""
    if VIRTUAL.search(source):
        return
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    reasons = {token.start[0] for token in tokens if token.type == tokenize.COMMENT and "noqa" not in token.string}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or node.end_lineno in reasons:
            continue
        if SLEEP.fullmatch(ast.unparse(node.func)) and [ast.unparse(argument) for argument in node.args] != ["0"]:
            yield f"{node.lineno}: {ast.unparse(node)}"


def test_no_test_sleeps_without_a_reason() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{call}"
        for path in sorted(TESTS.rglob("*.py"))
        if path.name not in ELSEWHERE
        for call in sleeps(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def skipped(source: str) -> Iterator[int]:
    """Give each assertion that is not made when the time of a `move_on_after` around it is over."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.With | ast.AsyncWith) and any("move_on" in ast.unparse(item) for item in node.items):
            yield from (part.lineno for part in ast.walk(node) if isinstance(part, ast.Assert))


def test_no_assertion_is_skipped_when_time_is_over() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line}"
        for path in sorted(TESTS.rglob("*.py"))
        for line in skipped(path.read_text(encoding="utf-8"))
    ]
    assert found == []
    assert list(skipped("with a(), anyio.move_on_after(1):\n    pass\n    assert x\nassert y\n")) == [3]


def test_the_count_sees_what_it_is_to_see() -> None:
    source = """
import anyio, time
from trio import sleep
async def f(pause):
    await anyio.sleep(0)
    await anyio.sleep(0.1)
    await sleep(pause)
    time.sleep(1)  # it is slow
    time.sleep(2)  # noqa: ASYNC251
    "time.sleep(3)"
    await anyio.sleep_forever()
"""
    assert sorted(sleeps(source)) == ["6: anyio.sleep(0.1)", "7: sleep(pause)", "9: time.sleep(2)"]
    assert list(sleeps("from virtual_time import backend\n" + source)) == []
