"""The end of the process after a session, which counts against Lambda's two seconds too."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, gc, sys
before = gc.get_freeze_count()  # some Pythons freeze what they begin with
atexit.register(lambda: print(gc.get_freeze_count()))  # those registered later come first
sys.path.insert(0, "tests")
import anyio
from fake_lambda import FakeLambda
from lambda_extension import open_extension

async def main():
    async with FakeLambda() as platform:
        async with open_extension(name="x", environment=platform.environment, http_client=platform.http) as extension:
            platform.shut_down()
            async for _ in extension:
                raise AssertionError

for _ in range(2):
    anyio.run(main, backend=sys.argv[1])
    assert gc.get_freeze_count() == before  # a process that lives on is left as it is
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_interpreter_does_not_look_for_cycles_when_it_ends(backend: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, backend], timeout=30, check=True, capture_output=True, text=True
    )
    assert int(run.stdout) > 1_000
