"""The examples, and the code of README and how-tos, as real processes in the simulator, on both backends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator
from script_backends import command_on

ROOT = Path(__file__).parent.parent
SCRIPTS = [
    script
    for page in ("README.md", "docs/howto/cold-start.md", "docs/howto/local-endpoint.md")
    for script in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
]


async def output_of(script: Path, backend: str) -> list[str]:
    """Run a script as an extension for three invocations; it must exit 0 and break no rule."""
    command = command_on(backend, script)
    function = ScriptedFunction(log_lines=["order accepted"])
    with anyio.fail_after(60):
        async with Simulator([ExtensionSpec(command, name=script.name)], function, timeout=20) as lambda_:
            results = await lambda_.invoke_many(3)
            # Standard output is a pipe: what is printed without a flush would come at the end of the process at best.
            await lambda_.record.wait_for(lambda record: bool(record.find("output", who=script.name)))
            shutdown = await lambda_.shutdown()
    assert [result.status for result in results] == ["success"] * 3
    assert shutdown.exit_codes[script.name] == 0
    assert shutdown.late == ()
    return [str(entry.detail["text"]) for entry in lambda_.record.find("output") if entry.who == script.name]


def backend_of(anyio_backend: Any) -> str:
    backend, options = anyio_backend
    if options.get("use_uvloop"):
        pytest.skip("a script chooses its event loop by itself")
    return str(backend)


async def test_stream(anyio_backend: Any) -> None:
    lines = await output_of(ROOT / "examples/stream.py", backend_of(anyio_backend))
    assert lines.count("function: order accepted") == 3
    assert len([line for line in lines if line.startswith("billed: ")]) == 3


async def test_per_invocation(anyio_backend: Any) -> None:
    lines = await output_of(ROOT / "examples/per_invocation.py", backend_of(anyio_backend))
    assert len(lines) == 4
    assert all(re.fullmatch(r"shipped \d+ events", line) for line in lines)


async def test_with_methods(anyio_backend: Any) -> None:
    lines = await output_of(ROOT / "examples/with_methods.py", backend_of(anyio_backend))
    assert lines[0].startswith("watching ")
    assert lines[1:] == ["3 invocations until spindown"]


@pytest.mark.parametrize("index", range(len(SCRIPTS)))
async def test_the_scripts_of_readme_and_pages(index: int, anyio_backend: Any, tmp_path: Path) -> None:
    script = tmp_path / f"script_{index}.py"
    script.write_text(SCRIPTS[index])
    lines = await output_of(script, backend_of(anyio_backend))
    assert lines
