"""`lambda-extension doctor`: the checks in this terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio
import attrs
import click

from lambda_extension.cli._doctor._check import Check
from lambda_extension.cli._doctor._examine import examine, is_layer
from lambda_extension.cli._signals import Ended, on_signals
from lambda_extension.cli._terminal import Terminal

_STYLES: Final = {"pass": "green", "fail": "bold red", "warn": "yellow", "skip": "dim"}


def diagnose(path: Path, variables: Mapping[str, str], *, as_json: bool, strict: bool) -> int:
    """Check, tell, and return the exit code; a signal ends everything at once.

    Args:
        path: An extension's file, or a layer.
        variables: Of the function, for what is run.
        as_json: Whether to print one JSON object at the end, in place of lines.
        strict: Whether warnings fail too.
    """
    checks: list[Check] = []
    terminal = None if as_json else Terminal()
    return _tell(anyio.run(_diagnose, path, variables, checks, terminal), checks, as_json=as_json, strict=strict)


def _tell(ended: Ended, checks: list[Check], *, as_json: bool, strict: bool) -> int:
    if ended.number:
        return ended.tell()
    bad = {"fail", "warn"} if strict else {"fail"}
    ok = all(check.verdict not in bad for check in checks)
    if as_json:
        click.echo(json.dumps({"ok": ok, "checks": [attrs.asdict(check) for check in checks]}, indent=2))
    return 0 if ok else 1


async def _diagnose(path: Path, variables: Mapping[str, str], checks: list[Check], terminal: Terminal | None) -> Ended:
    layer, ended = is_layer(path), Ended()

    def report(check: Check) -> None:
        checks.append(check)
        if terminal is not None:
            of = f"{check.extension}, " if layer and check.extension else ""
            terminal.paragraph((check.verdict, _STYLES[check.verdict]), (f"{of}{check.name}:", ""), (check.reason, ""))

    async with anyio.create_task_group() as tasks:

        def end(number: int) -> None:
            ended.number = number
            tasks.cancel_scope.cancel()

        await tasks.start(on_signals, end)
        await examine(path, variables, report)
        tasks.cancel_scope.cancel()
    return ended
