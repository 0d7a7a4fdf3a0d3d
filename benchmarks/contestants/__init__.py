"""The programs that are compared: how each is built and started, and why one is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = Literal["telemetry", "idle", "flush", "stall"]
ALL_MODES: frozenset[Mode] = frozenset({"telemetry", "idle", "flush", "stall"})

HERE = Path(__file__).parent
BUILD = HERE.parent / ".build"
SOURCE = HERE.parent.parent / "src"
# What the library and the Python peers import, in an environment of its own: what else is
# installed must not count (httpx, for one, imports click and rich when they are there).
REQUIREMENTS = (
    "anyio>=4.16",
    "attrs>=24.1",
    "httptools>=0.6",
    "httpx>=0.28,<1",
    "hypercorn>=0.17.3",
    "msgspec>=0.20",
    "requests>=2.32",
    "sniffio>=1.3",
    "tenacity>=9.0",
    "uvloop>=0.21",
)
# Only where it is used: httpcore imports it wherever it is installed, on asyncio too.
TRIO = "trio>=0.31"
GO_MODULE = "github.com/zakharovvi/aws-lambda-extensions"


class UnavailableError(Exception):
    """A contestant cannot run on this machine."""


@attrs.frozen(kw_only=True)
class Contestant:
    """One program to measure.

    Attributes:
        name: As given on the command line.
        title: As shown in tables.
        command: Arguments to start it.
        environment: Variables that it needs beyond those of every contestant.
        modes: What it can be asked to do.
        json_records: Whether it takes JSON log records; if not, it meets the `text` corpus alone.
    """

    name: str
    title: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = attrs.field(factory=dict)
    modes: frozenset[Mode] = ALL_MODES
    json_records: bool = True

    @property
    def counts(self) -> bool:
        """Whether it says how many events its user code has seen, as all do that are more than started."""
        return "stall" in self.modes


OURS = ("asyncio", "uvloop", "trio", "asyncio-direct", "uvloop-direct", "trio-direct", "early")
RECOMMENDED = {"delivery": "delivery to an HTTP sink", "otlp": "OTLP"}
NAMES = (*OURS, *RECOMMENDED, "floor", "aws-sample", "go-stdlib", "go-module", "rust-crate")


def prepare(name: str, *, go_module: Path | None = None) -> Contestant:
    """Build what a contestant needs, unless it is there already.

    Args:
        name: One of `NAMES`.
        go_module: A checkout of the Go module; without one it is asked of the module proxy.

    Raises:
        UnavailableError: The toolchain or a registry is missing; the message says which.
    """
    if name in OURS:
        backend, _, server = ("asyncio-direct" if name == "early" else name).partition("-")
        words = ["lambda-extension", backend, *([server] if server else []), *(["early"] if name == "early" else [])]
        return Contestant(
            name=name,
            title=", ".join(words),
            command=(str(interpreter(trio=backend == "trio")), str(HERE / "library.py")),
            environment={
                "BENCH_BACKEND": backend,
                "BENCH_SERVER": server,
                "BENCH_EARLY": str(SOURCE / "lambda_extension") if name == "early" else "",
            },
        )
    if name in RECOMMENDED:
        return Contestant(
            name=name,
            title=f"lambda-extension, asyncio, direct, {RECOMMENDED[name]}",
            command=(str(interpreter()), str(HERE / "recommended.py")),
            environment={"BENCH_SETUP": name},
            modes=frozenset({"telemetry"}),
        )
    if name == "floor":
        title = "Python, stdlib only"
        return Contestant(name=name, title=title, command=(str(interpreter()), str(HERE / "floor.py")))
    if name == "aws-sample":
        title = "Python, AWS sample's shape"
        return Contestant(name=name, title=title, command=(str(interpreter()), str(HERE / "aws_sample.py")))
    if name == "go-stdlib":
        return Contestant(name=name, title="Go, net/http", command=(str(_build_go(name)),))
    if name == "go-module":
        return Contestant(
            name=name,
            title="Go, aws-lambda-extensions",
            command=(str(_build_go(name, go_module)),),
            modes=frozenset({"telemetry", "stall"}),
            json_records=False,
        )
    if name == "rust-crate":
        return Contestant(name=name, title="Rust, lambda-extension", command=(str(_build_rust()),))
    raise UnavailableError(f"no such contestant; choose from {', '.join(NAMES)}")


def interpreter(*, trio: bool = False) -> Path:
    """Return the Python of an environment with only `REQUIREMENTS` in it, and trio if asked."""
    kind = "-trio" * trio
    home = BUILD / f"python{sys.version_info.major}.{sys.version_info.minor}{kind}"
    python = home / "bin" / "python"
    stamp = home / "requirements"
    requirements = (*REQUIREMENTS, *((TRIO,) if trio else ()))
    wanted = "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True, symlinks=True)
        _run([str(python), "-m", "pip", "install", "-q", *requirements])
        # Their .pth files would cost every start; no layer has them.
        _run([str(python), "-m", "pip", "uninstall", "-q", "-y", "setuptools", "pip"])
        stamp.write_text(wanted)
    return python


def versions() -> dict[str, str]:
    """Return the versions of what is compared and of the tools that built it."""
    code = (
        "import importlib.metadata as m, sys; print('python', sys.version.split()[0]); "
        "[print(d.metadata['Name'].lower(), d.version) for d in m.distributions()]"
    )
    found = dict(line.split(" ", 1) for line in _run([str(interpreter(trio=True)), "-c", code]).splitlines())
    for tool, arguments in (("go", ["version"]), ("rustc", ["--version"])):
        if shutil.which(tool):
            found[tool] = next(
                word for word in _run([tool, *arguments]).replace("go1", "1").split() if word[0].isdigit()
            )
    lock = BUILD / "rust-src" / "Cargo.lock"
    if lock.exists():
        found["rust crate lambda-extension"] = (
            lock.read_text().split('name = "lambda-extension"\nversion = "')[1].split('"')[0]
        )
    return found


def _build_go(name: str, checkout: Path | None = None) -> Path:
    binary = BUILD / name
    source = HERE / name.replace("-", "_")
    if _fresh(binary, source):
        return binary
    if shutil.which("go") is None:
        raise UnavailableError("no Go toolchain")
    copy = BUILD / f"{name}-src"
    shutil.copytree(source, copy, dirs_exist_ok=True)
    if name == "go-module":
        if checkout is None:
            _run(["go", "get", f"{GO_MODULE}@latest"], cwd=copy)
        else:
            replaced = [f"-require={GO_MODULE}@v0.0.0", f"-replace={GO_MODULE}={checkout.resolve()}"]
            _run(["go", "mod", "edit", *replaced], cwd=copy)
            _run(["go", "mod", "tidy"], cwd=copy)
    _run(["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(binary), "."], cwd=copy)
    return binary


def _build_rust() -> Path:
    copy = BUILD / "rust-src"
    binary = BUILD / "rust" / "release" / "bench-extension"
    if _fresh(binary, HERE / "rust"):
        return binary
    if shutil.which("cargo") is None:
        raise UnavailableError("no Rust toolchain")
    shutil.copytree(HERE / "rust", copy, dirs_exist_ok=True)
    _run(["cargo", "build", "--release", "-q", "--target-dir", str(BUILD / "rust")], cwd=copy)
    return binary


def _fresh(binary: Path, source: Path) -> bool:
    newest = max(path.stat().st_mtime for path in source.rglob("*") if path.is_file())
    return binary.exists() and binary.stat().st_mtime >= newest


def _run(command: list[str], *, cwd: Path | None = None) -> str:
    BUILD.mkdir(exist_ok=True)
    try:
        done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=900)
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"`{' '.join(command[:3])}` failed: {error.stderr.strip().splitlines()[-1:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(str(error)) from error
    return done.stdout


def base_environment() -> dict[str, str]:
    """Return the variables that every contestant gets, much as Lambda sets them."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(SOURCE),
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_REGION": "eu-west-1",
    }
