"""Builds the foreign programs that must be built, once per content, into the cache of the user."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["FOREIGN", "go_extension", "go_function", "rust_extension"]

FOREIGN = Path(__file__).parent / "foreign"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lambda-extension-tests"


def go_function() -> Path:
    """Return a function on AWS's module for Go."""
    return _go("go")


def go_extension() -> Path:
    """Return an extension in Go, which gets telemetry."""
    return _go("go-extension")


def _go(name: str) -> Path:
    target = _target(name)
    if not target.exists():
        _build(name, ["go", "build", "-o", str(target)], {"CGO_ENABLED": "0"})
    return target


def rust_extension() -> Path:
    """Return an extension on the crate for Rust."""
    target = _target("rust")
    if not target.exists():
        built = _CACHE / "rust-target"  # with what it depends on, which takes the most of the time
        _build("rust", ["cargo", "build", "-q", "--target-dir", str(built)], {})
        shutil.copy2(built / "debug" / "rust-telemetry", target)
    return target


def _target(name: str) -> Path:
    digest = hashlib.sha256()
    for path in sorted((FOREIGN / name).rglob("*")):
        if path.is_file() and path.name != "Cargo.lock":
            digest.update(path.read_bytes())
    _CACHE.mkdir(parents=True, exist_ok=True)
    return _CACHE / f"{name}-{digest.hexdigest()[:16]}"


def _build(name: str, command: list[str], environment: dict[str, str]) -> None:
    """Build, or skip the test where the tool is missing; in CI that is a failure."""
    required = os.environ.get("CI")
    if shutil.which(command[0]) is None and not required:
        pytest.skip(f"no {command[0]} here")
    # In a copy: a build may write lock files beside its source.
    copy = _CACHE / f"{name}-source"
    shutil.copytree(FOREIGN / name, copy, dirs_exist_ok=True)
    done = subprocess.run(command, cwd=copy, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        message = f"{' '.join(command)}: {done.stderr[-2000:]}"
        pytest.fail(message) if required else pytest.skip(message)
