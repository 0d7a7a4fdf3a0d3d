"""Builds the foreign programs that must be built, once per content, into the cache of the user."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
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
    target = _target(name, name)
    if not target.exists():
        _build(name, ["go", "build", "-o", str(target)], {"CGO_ENABLED": "0"}, {}, name)
    return target


def rust_extension(source: str | None = None) -> Path:
    """Return an extension on the crate for Rust: the one that is here, or one that is made of another `main.rs`."""
    name = "rust" if source is None else "rust-page"
    target = _target("rust", name, source or "")
    if not target.exists():
        shared = _CACHE / "rust-target"  # with what it depends on, which takes the most of the time
        # Each under a name of its own, since two tests may build at once.
        manifests = {path: (FOREIGN / "rust" / path).read_text() for path in ("Cargo.toml", "Cargo.lock")}
        changes = {path: text.replace("rust-telemetry", name) for path, text in manifests.items()}
        changes |= {} if source is None else {"src/main.rs": source}
        _build("rust", ["cargo", "build", "-q", "--target-dir", str(shared)], {}, changes, name)
        shutil.copy2(shared / "debug" / name, target)
    return target


def _target(folder: str, name: str, source: str = "") -> Path:
    digest = hashlib.sha256(source.encode())
    for path in sorted((FOREIGN / folder).rglob("*")):
        if path.is_file() and path.name != "Cargo.lock":
            digest.update(path.read_bytes())
    _CACHE.mkdir(parents=True, exist_ok=True)
    return _CACHE / f"{name}-{digest.hexdigest()[:16]}"


def _build(folder: str, command: list[str], environment: dict[str, str], changes: Mapping[str, str], name: str) -> None:
    """Build, with other content of some files; or skip the test where the tool is missing: in CI that is a failure."""
    required = os.environ.get("CI")
    if shutil.which(command[0]) is None and not required:
        pytest.skip(f"no {command[0]} here")
    # In a copy: a build may write lock files beside its source.
    copy = _CACHE / f"{name}-source"
    shutil.copytree(FOREIGN / folder, copy, dirs_exist_ok=True)
    for path, text in changes.items():
        (copy / path).write_text(text)
    done = subprocess.run(command, cwd=copy, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        message = f"{' '.join(command)}: {done.stderr[-2000:]}"
        pytest.fail(message) if required else pytest.skip(message)
