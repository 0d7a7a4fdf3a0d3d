"""The code of README and how-tos, as real processes in the simulator, on both backends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from extension_runs import run_script

ROOT = Path(__file__).parent.parent
SCRIPTS = [
    script
    for page in ("README.md", "docs/howto/cold-start.md", "docs/howto/local-endpoint.md")
    for script in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
]


@pytest.mark.parametrize("index", range(len(SCRIPTS)))
async def test_the_scripts_of_readme_and_pages(index: int, anyio_backend: Any, tmp_path: Path) -> None:
    script = tmp_path / f"script_{index}.py"
    script.write_text(SCRIPTS[index])
    run = await run_script(script, anyio_backend)
    assert run.lines
