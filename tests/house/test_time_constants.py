"""Every margin and share of time stands in `_budget.py`, where it can be added up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import lambda_extension

SOURCE = Path(lambda_extension.__file__).parent
# Words by which a constant says that it is a time, or a share of one.
TIME = re.compile(
    r"TIMEOUT|DEADLINE|GRACE|MARGIN|SHARE|LIMIT$|SECONDS|INTERVAL|PERIOD|PAUSE|DELAY|QUIET|CLOSING|ENDING|CLOSING|ENDING|LAST_WORDS|RESORT|TICK|SLICE"
    r"|PATIENCE|FOREVER|_END$|_MS$|BACKOFF|COOLDOWN|WAIT$"
)
# Not part of an extension's life: the simulator is the platform, whose times are settings of its own, and the commands
# have people waiting; early.py stands before everything that could be imported.
ELSEWHERE = {"simulator", "cli", "packaging", "early.py"}


def constants(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give the numbers of a module's top level that are named like a time."""
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = getattr(node, "value", None)
        numbers = [part for part in ast.walk(value) if isinstance(part, ast.Constant)] if value is not None else []
        for target in targets:
            if (
                isinstance(target, ast.Name)
                and TIME.search(target.id)
                and any(type(n.value) in (int, float) for n in numbers)
            ):
                yield node.lineno, target.id


def test_no_time_is_set_outside_of_the_budget() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).parts[0] not in ELSEWHERE | {"_budget.py"}
        for line, name in constants(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_count_sees_what_it_is_to_see() -> None:
    tree = ast.parse("_TIMEOUT = 5.0\nMOST_ITEMS = 5\n_LAST_WORDS: float = 2 * 0.5\n_SHARE = compute()\n")
    assert [name for _, name in constants(tree)] == ["_TIMEOUT", "_LAST_WORDS"]
    budget = ast.parse((SOURCE / "_budget.py").read_text(encoding="utf-8"))
    assert {"INVOCATION_MARGIN", "CALL_LIMIT", "_CATCH_SHARE"} <= {name for _, name in constants(budget)}
