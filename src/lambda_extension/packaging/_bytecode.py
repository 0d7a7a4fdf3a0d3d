"""Bytecode of the target's version: /opt is read-only, so what is not compiled here is compiled at every cold start."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._target import Target

# The heads of packages whose list of public names is read from their source (see lambda_extension._lazy).
_READ_AT_RUN_TIME: Final = b"import_on_use(__name__)"


def compile_all(root: Path, target: Target, *, python: str, runtime_root: str) -> None:
    """Compile every module below a folder; blocks.

    The bytecode is never compared with its source (PEP 552's unchecked hashes): the two leave together, and a look at
    each source would cost start-up. The same sources give the same bytes.

    Args:
        root: The folder.
        target: The Python whose bytecode it is.
        python: An interpreter of that version.
        runtime_root: What tracebacks call the folder.

    Raises:
        PackagingError: A module is not valid in that Python.
    """
    options = ["-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", runtime_root]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(  # noqa: S603 - an interpreter that was looked for
        [python, "-s", "-S", "-m", "compileall", *options, str(root)],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONHASHSEED": "0"},  # on which the order of sets among constants depends
    )
    if done.returncode:
        msg = f"not all of it is valid in Python {target.python}:\n{(done.stdout + done.stderr).strip()}"
        raise PackagingError(msg)


def drop_sources(root: Path, target: Target) -> None:
    """Put the bytecode of each module in the place of its source, but for sources that are read at run time."""
    for source in sorted(root.rglob("*.py")):
        compiled = source.parent / "__pycache__" / f"{source.stem}.{target.cache_tag}.pyc"
        if compiled.exists() and _READ_AT_RUN_TIME not in source.read_bytes():
            compiled.replace(source.with_suffix(".pyc"))
            source.unlink()
