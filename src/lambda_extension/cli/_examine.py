"""`lambda-extension doctor`: the checks in this terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import attrs
import click

from lambda_extension.cli._doctor import Check, examine as examine_
from lambda_extension.cli._terminal import Terminal

__all__ = ["examine"]

_STYLES: Final = {"pass": "green", "fail": "bold red", "warn": "yellow", "skip": "dim"}


async def examine(extension: Path, as_json: bool) -> int:
    """Check, tell, and return the exit code."""
    checks: list[Check] = []
    terminal = Terminal()
    async for check in examine_(extension):
        checks.append(check)
        if not as_json:
            terminal.paragraph((check.verdict, _STYLES[check.verdict]), (f"{check.name}:", ""), (check.reason, ""))
    ok = all(check.verdict != "fail" for check in checks)
    if as_json:
        click.echo(json.dumps({"ok": ok, "checks": [attrs.asdict(check) for check in checks]}, indent=2))
    return 0 if ok else 1
