"""Scripts as real extensions in the simulator, for a few invocations, on a backend of the test's choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from lambda_extension.simulator import ExtensionSpec, Record, ScriptedFunction, Simulator
from script_backends import command_on


@attrs.frozen(kw_only=True)
class Run:
    """What came of a run.

    Attributes:
        lines: What the script printed.
        record: What happened.
        request_ids: Of the invocations, in their order.
        payloads: What the function answered to each.
    """

    lines: list[str]
    record: Record
    request_ids: list[str]
    payloads: list[Any]


def backend_of(anyio_backend: Any) -> str:
    """Give the name of a test's backend; uvloop is for whoever calls `anyio.run`, which here the script does."""
    backend, options = anyio_backend
    if options.get("use_uvloop"):
        pytest.skip("a script chooses its event loop by itself")
    return str(backend)


async def run_script(
    script: Path,
    anyio_backend: Any,
    function: Any = None,
    *,
    environment: Mapping[str, str] | None = None,
    invocations: int = 3,
    payloads: Sequence[Any] = (),
    freeze: bool = False,
    **settings: Any,
) -> Run:
    """Run a script as an extension; every invocation must succeed, the script exit 0, and no rule be broken."""
    command = command_on(backend_of(anyio_backend), script)
    extension = ExtensionSpec(command, name=script.name)
    function = function or ScriptedFunction(log_lines=["order accepted"])
    settings = {"timeout": 20, "init_timeout": 30, "environment": dict(environment or {}), **settings}
    with anyio.fail_after(60):
        async with Simulator([extension], function, freeze=freeze, **settings) as lambda_:
            results = [await lambda_.invoke(payload) for payload in payloads or [None] * invocations]
            shutdown = await lambda_.shutdown()
    lines = [str(entry.detail["text"]) for entry in lambda_.record.find("output", who=script.name)]
    assert [result.status for result in results] == ["success"] * len(results), lines
    assert shutdown.exit_codes[script.name] == 0, lines
    assert shutdown.late == ()
    assert lambda_.record.findings == []
    return Run(
        lines=lines,
        record=lambda_.record,
        request_ids=[result.request_id for result in results],
        payloads=[result.payload for result in results],
    )
