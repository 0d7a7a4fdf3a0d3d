"""Builds the foreign programs that must be built, once, into the cache of the user; and runs those that serve."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from waiting import wait_until

__all__ = ["FOREIGN", "fetched", "go_extension", "go_function", "run_build", "rust_extension", "server_program"]

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


def fetched(name: str, needs: Sequence[str], fetch: Callable[[Path], None]) -> Path:
    """Return the folder of something foreign, filled by `fetch` the first time.

    Where a program is missing that this needs, the test is skipped, but not in CI. Whoever wants the same at the same
    time waits for the first, since it takes minutes and all processors.
    """
    home = _CACHE / name
    if home.exists():
        return home
    if missing := [program for program in needs if shutil.which(program) is None]:
        told = f"not tested against {name}: there is no {' and no '.join(missing)}"
        pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            building = _CACHE / f"{name}.building"
            shutil.rmtree(building, ignore_errors=True)  # of one that was killed
            building.mkdir()
            fetch(building)
            building.rename(home)
    return home


def run_build(command: list[str], folder: Path, **environment: str) -> None:
    """Run a command that builds or downloads; fail the test with what it says, or after a quarter of an hour."""
    variables = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.fail(f"`{' '.join(command)}` failed: {(done.stdout + done.stderr)[-2000:]}")


@contextmanager
def server_program(
    command: list[str],
    log: Path,
    ready: Callable[[], object],
    *,
    within: float = 30,
    env: Mapping[str, str] | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """Run a program that serves, from when it is ready until the end of the block, also if a test has stopped it."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env, cwd=log.parent)
    try:
        wait_until(lambda: process.poll() is not None or ready(), within=within)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()  # some pass on what they still have
        process.send_signal(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait(10)
