"""What stands before `open_extension` is done before the function's init; a failure there ends with a clear line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest

from lambda_extension.simulator import ExtensionSpec, Simulator

SCRIPT = """
import pathlib, sys
import anyio
from lambda_extension import open_extension

async def main():
    {before}
    async with open_extension(name="cache") as extension:
        async for invocation in extension:
            pass

anyio.run(main, backend=sys.argv[1])
"""


def extension(before: str, backend: str) -> ExtensionSpec:
    return ExtensionSpec([sys.executable, "-c", SCRIPT.format(before=before), backend], name="cache")


@pytest.fixture
def backend(anyio_backend: object) -> str:
    assert isinstance(anyio_backend, tuple)
    return str(anyio_backend[0])


async def test_the_functions_module_finds_what_was_done_before_register(tmp_path: Path, backend: str) -> None:
    cache = tmp_path / "secrets"
    (tmp_path / "app.py").write_text(
        f"SECRET = open({str(cache)!r}).read()\n\ndef handler(event, context):\n    return SECRET\n"
    )
    gate = tmp_path / "gate"
    os.mkfifo(gate)  # reading it waits for a writer
    before = f"print('at work', flush=True); pathlib.Path({str(cache)!r}).write_text(open({str(gate)!r}).read())"
    spec = extension(before, backend)
    async with Simulator([spec], "app:handler", environment={"PYTHONPATH": str(tmp_path)}, timeout=10) as lambda_:
        async with anyio.create_task_group() as tasks:

            async def invoke() -> None:
                assert (await lambda_.invoke({})).payload == "open sesame"

            tasks.start_soon(invoke)
            await lambda_.record.wait_for(lambda record: record.last_words("cache") == "at work")
            # All the while, the function's process does not even start.
            assert [entry.who for entry in lambda_.record.find("process", "start")] == ["cache"]
            await anyio.Path(gate).write_text("open sesame")
        await lambda_.shutdown()


async def test_a_failure_before_register_ends_with_its_message(backend: str) -> None:
    spec = extension("raise PermissionError('the key is not ours')", backend)
    async with Simulator([spec], timeout=10) as lambda_:
        result = await lambda_.invoke({})
    assert result.status == "error"
    lines = [str(entry.detail["text"]) for entry in lambda_.record.find("output") if entry.who == "cache"]
    assert lines[-1] == "PermissionError: the key is not ours"
