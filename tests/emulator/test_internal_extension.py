"""An internal extension on AWS's own emulator: registered before the module of the function is done."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emulator.harness import Emulator

pytestmark = pytest.mark.emulator

PROGRAMS = Path(__file__).with_name("programs")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # of the test; that of the extension is `backend`


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_every_invocation_of_a_light_function_is_counted(
    emulator_binary: Path, tmp_path: Path, backend: str
) -> None:
    emulator = Emulator(
        emulator_binary,
        tmp_path,
        bootstrap=f"#!{sys.executable}\n{(PROGRAMS / 'bootstrap.py').read_text()}",
        task={"internal.py": (PROGRAMS / "internal.py").read_text()},
        handler="internal.handler",
        timeout=20,
        environment={"BACKEND": backend},
    )
    async with emulator:
        answers = [(await emulator.invoke({})).json() for _ in range(6)]
        emulator.terminate()
        await emulator.wait()
    ids = [answer["requestId"] for answer in answers]
    # The function may be faster than the extension with its own invocation, and never with the one before.
    assert answers[-1]["counted"][:5] == ids[:5]
