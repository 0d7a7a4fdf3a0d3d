"""The variables of the ready-made extension, from the tables that it reads them by."""

from __future__ import annotations

from collections.abc import Iterable

from lambda_extension.ship._destinations import KINDS
from lambda_extension.ship._variables import FOR_EACH, GENERAL, PREFIX, SPILL, Variable


def ship() -> str:
    """Return a table of the extension as a whole, one of every destination, and one of each kind."""
    parts = [
        _table("", GENERAL),
        f"Of all destinations; `{PREFIX}NAME_…`, with a destination's own name, is for that one and wins.\n",
        _table("", [*FOR_EACH, SPILL]),
    ]
    for kind in KINDS.values():
        extra = f" Needs the extra `{kind.extra}`." if kind.extra else ""
        own = f"{kind.name.upper().replace('-', '_')}_"
        parts.append(f"**`{kind.name}`**: {kind.what}.{extra}\n")
        if kind.variables:
            parts.append(_table(own, kind.variables))
    return "\n".join(parts)


def _table(own: str, variables: Iterable[Variable]) -> str:
    lines = ["| Variable | Meaning | Default |", "|---|---|---|"]
    for each in variables:
        default = "required" if each.required else f"`{each.default}`" if each.default is not None else ""
        lines.append(
            f"| `{PREFIX}{own}{each.name}` | {each.meaning}; {each.form.words} | {default} |".replace("\n", " ")
        )
    return "\n".join(lines) + "\n"
