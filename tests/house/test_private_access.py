"""Nobody looks into another object: a counting test holds such accesses at zero."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import lambda_extension

SOURCE = Path(lambda_extension.__file__).parent
# Named by others with an underscore, though there is no other way: how StrEnum makes a member, and what OpenTelemetry's
# own readers ask an exporter for.
OTHERS = {"_name_", "_value_", "_value2member_map_", "_preferred_temporality", "_preferred_aggregation"}


def accesses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give `other._name`, where other is neither the object itself, nor its class, nor a class of the same module."""
    own = {node.name for node in tree.body if isinstance(node, ast.ClassDef)} | {"self", "cls"}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and node.attr not in OTHERS
            and not (isinstance(node.value, ast.Name) and node.value.id in own)
            and not (isinstance(node.value, ast.Call) and ast.unparse(node.value) in ("super()", "type(self)"))
        ):
            yield node.lineno, ast.unparse(node)


def test_no_object_reaches_into_another() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, text in accesses(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_count_sees_what_it_is_to_see() -> None:
    text = "class A:\n    def f(self, other):\n        self._x = A._y = cls._z\n        other._x = self.a._b = f()._c\n"
    assert [found for _, found in accesses(ast.parse(text))] == ["other._x", "self.a._b", "f()._c"]
