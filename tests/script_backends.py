"""Scripts that choose asyncio for themselves, on the other backend."""

from __future__ import annotations

import sys
from pathlib import Path

_AS_BACKEND = """
import functools, runpy, sys, anyio
anyio.run = functools.partial(anyio.run, backend=sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def command_on(backend: str, script: Path) -> list[str]:
    """Give the command line that runs a script as if it had asked for this backend."""
    return [sys.executable, "-c", _AS_BACKEND, backend, str(script)]
