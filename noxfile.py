"""The quality gates. `nox` runs them all; `nox -s tests` one of them; `nox -l` lists them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = [
    "lint",
    "mypy",
    "pyright",
    "docs",
    "package",
    "deployment",
    "bench",
    "emulator",
    "browser",
    "backends",
    "audit",
    "tests_lowest",
    "soak_minute",
    "tests",
    "coverage",
]

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = ".[trio,uvloop]"
EVERYTHING = f".[{','.join(PROJECT['project']['optional-dependencies'])}]"
# Tests of what calls a dependency: each is there with its servers, clients, formats and commands.
LEANING = [
    "tests/api",
    "tests/cli/test_command_in_terminal.py",
    "tests/delivery/backends/test_formats.py",
    "tests/delivery/test_connecting.py",
    "tests/delivery/test_http_sink.py",
    "tests/delivery/test_proxies.py",
    "tests/logs",
    "tests/otel/test_processor.py",
    "tests/serving/test_serve.py",
    "tests/serving/test_servers.py",
    "tests/session/test_session.py",
    "tests/telemetry/test_receiver.py",
]
LICENSES = "MIT;BSD;Apache;MPL;PSF"
# Before what fetches something from elsewhere and has no time-out of its own.
BOUNDED = ["timeout", "--kill-after=10", "600"] if shutil.which("timeout") else []
CI_BENCH = ["--quick", "--only", "startup,growth", "--contestants", "floor,asyncio,trio"]


# The gates start some thousand processes: without bytecode, each compiles all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# pyenv's shims refuse versions that are installed but not selected: name the real interpreters before them.
for version in PYTHONS:
    for found in sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin")):
        if version != f"{sys.version_info.major}.{sys.version_info.minor}":
            os.environ["PATH"] = f"{found}{os.pathsep}{os.environ['PATH']}"


def groups(*names: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, *names))


def installed(version: str) -> bool:
    """Whether this Python can be started; a shim for a version that is not installed does not count."""
    name = f"python{version}"
    here = f"{sys.version_info.major}.{sys.version_info.minor}" == version
    return here or (shutil.which(name) is not None and os.system(f"{name} -c '' >/dev/null 2>&1") == 0)


@nox.session
def soak(session: nox.Session) -> None:
    """Shut down extensions with busy sinks for ten minutes; `-- --seconds 60` for less."""
    session.install("-e", EVERYTHING, *groups("tests"))
    session.run("python", "-m", "benchmarks.soak", *session.posargs)


@nox.session
def soak_minute(session: nox.Session) -> None:
    """Do the same for one minute; fail for events that are lost or shutdowns that hang, and only tell of late ones."""
    session.install("-e", EXTRAS, *groups("tests"))
    session.run("python", "-m", "benchmarks.soak", "--seconds", "60", "--patient")


@nox.session(python=[version for version in PYTHONS if installed(version)])
def tests(session: nox.Session) -> None:
    """Run the tests on asyncio, uvloop and trio, with branch coverage."""
    session.install("-e", EXTRAS, *groups("tests"))
    # Most of a test's time is waiting, for a simulated Lambda or a subprocess: more of them than cores.
    session.run(
        "coverage",
        "run",
        "-m",
        "pytest",
        "-n",
        "4",
        "--dist",
        "worksteal",  # what tests of one module share is made in few workers, and none ends long before the others
        "-m",
        "not emulator and not browser and not backends",
        *session.posargs,
    )


@nox.session(python=PYTHONS[0], venv_backend="uv")
def tests_lowest(session: nox.Session) -> None:
    """Run the tests that lean on dependencies on the oldest direct ones that are allowed; `-- tests` for all."""
    session.install("--resolution", "lowest-direct", "-e", EVERYTHING, *groups("tests"))
    session.run(
        "pytest", "-q", "-n", "4", "-m", "not emulator and not browser and not backends", *(session.posargs or LEANING)
    )


@nox.session
def audit(session: nox.Session) -> None:
    """Check the licences of all that users may install, and that none of it has a known vulnerability."""
    session.install("-e", EVERYTHING, "pip-licenses>=5")
    own = ["pip-licenses", "prettytable", "wcwidth", "tomli"]
    session.run(
        "pip-licenses", "--from=mixed", "--partial-match", f"--allow-only={LICENSES}", "--ignore-packages", *own
    )
    session.install("pip-audit>=2.7")
    report = Path(session.create_tmp()) / "audit.json"
    report.unlink(missing_ok=True)
    # It exits with 1 where it found something, and where a package is not in the advisory database, so look closer.
    command = [*BOUNDED, "pip-audit", "-f", "json", "-o", str(report), "--progress-spinner", "off"]
    session.run(*command, external=True, success_codes=[0, 1])
    found = json.loads(report.read_text())["dependencies"] if report.exists() else []
    known = [package for package in found if "skip_reason" not in package]
    if not known:
        session.warn("no advisory database can be reached here: known vulnerabilities were not looked for")
    if vulnerable := [package for package in known if package["vulns"]]:
        session.error(json.dumps(vulnerable, indent=2))


@nox.session
def coverage(session: nox.Session) -> None:
    """Fail unless every line and branch of src is covered, over all Pythons together."""
    session.install(*groups("coverage"))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def mypy(session: nox.Session) -> None:
    """Check types strictly, those of the tests and examples too."""
    session.install("-e", EXTRAS, *groups("typing"))
    session.run("mypy")


@nox.session
def pyright(session: nox.Session) -> None:
    """Check types a second time, and that the public API is completely typed."""
    session.install("-e", EXTRAS, *groups("typing"))
    session.run("pyright")
    session.run("pyright", "--verifytypes", "lambda_extension", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the docs with warnings as errors, and look for what the built pages lack; `tests` runs what they show."""
    session.install("-e", EXTRAS, *groups("docs"))
    site = Path("docs/_build/html").absolute()
    shutil.rmtree(site, ignore_errors=True)  # with pages that are no more
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "docs", str(site))
    session.run("pytest", "-q", "tests/documentation/test_reference.py", env={"DOCS_SITE": str(site)})


def every_name(*packages: str) -> str:
    """Return a program that imports every public name of some packages."""
    names = [f"lambda_extension{package}" for package in packages]
    return f"import importlib as i; [getattr(m, n) for m in map(i.import_module, {names}) for n in dir(m)]"


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel, install it alone into an empty environment, and run the quickstart with it."""
    session.install("build", "twine")
    out = Path(session.create_tmp()) / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(out))
    artifacts = sorted(str(path) for path in out.iterdir())
    session.run("twine", "check", "--strict", *artifacts)
    session.install("pytest>=8.3")
    # Without the settings of the project and of its tests, which are for what is not here.
    test = ["-c", os.devnull, "--rootdir", ".", "--noconftest", "tests/house/test_distribution.py"]
    session.run("pytest", "-q", "-p", "no:cacheprovider", *test, env={"DISTRIBUTION": str(out)})
    (wheel,) = out.glob("*.whl")
    empty = Path(session.create_tmp()).absolute() / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    session.run("python", "-m", "venv", str(empty))
    python = str(empty / "bin" / "python")
    session.run(python, "-m", "pip", "install", "--quiet", str(wheel), external=True)
    session.run(python, "-c", every_name("", ".telemetry", ".logs", ".records", ".simulator"), external=True)
    session.run(python, "-m", "pip", "install", "--quiet", f"{wheel}[cli,delivery,direct]", external=True)
    session.run(python, "-c", every_name(".delivery", ".delivery.sinks", ".otel", ".serving"), external=True)
    # As somebody types it: without nox's own environment being active.
    command = [str(empty / "bin" / "lambda-extension"), "simulate", "examples/stream.py"]
    session.run("env", "-u", "VIRTUAL_ENV", *command, external=True)


@nox.session
def deployment(session: nox.Session) -> None:
    """Check what deploys a layer by the tools that read it, and what `init` writes; all of them are required in CI."""
    session.install("-e", EXTRAS, *groups("typing", "lint", "deployment"))
    env = {"DEPLOYMENT_REQUIRED": "1"} if os.environ.get("CI") else {}
    if shutil.which("npm"):
        tools = Path(session.create_tmp()).absolute()
        command = ["npm", "install", "--prefix", str(tools), "--no-audit", "--no-fund", "--silent", "--ignore-scripts"]
        session.run(*BOUNDED, *command, "osls@4", external=True)
        env["SERVERLESS_BINARY"] = str(tools / "node_modules" / ".bin" / "osls")
    tests = ["tests/deployment", "tests/cli/test_init_command.py::test_a_new_project_is_clean_to_ruff_and_mypy"]
    session.run("pytest", "-q", "-n", "2", *tests, env=env)


@nox.session
def emulator(session: nox.Session) -> None:
    """Run the tests against AWS's own emulator: needs root and Linux; fails in CI if they are missing, else skips."""
    session.install("-e", EXTRAS, *groups("tests"))
    wheels = Path(session.create_tmp())
    session.install("pip")
    download = [*BOUNDED, "python", "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels)]
    session.run(*download, "aws-sam-cli>=1.150", external=True)
    wheel = max(wheels.glob("aws_sam_cli-*.whl"))
    env = {"LAMBDA_RIE_WHEEL": str(wheel)}
    if os.environ.get("CI"):
        env["LAMBDA_RIE_REQUIRED"] = "1"
    side_by_side = ["-n", "4", "--dist", "worksteal"]  # each emulator is in namespaces of its own
    session.run("pytest", *side_by_side, "-m", "emulator", "tests/emulator", *session.posargs, env=env)


@nox.session
def browser(session: nox.Session) -> None:
    """Look at the timeline in headless Chromium, which is installed if this is root on Debian; required in CI."""
    session.install("-e", EXTRAS, *groups("tests"))
    if (
        not shutil.which("chromium")
        and not shutil.which("google-chrome")
        and shutil.which("apt-get")
        and not os.getuid()
    ):
        session.run(*BOUNDED, "apt-get", "update", "-qq", external=True, silent=True)
        packages = ["-y", "-qq", "--no-install-recommends", "chromium"]
        command = [*BOUNDED, "apt-get", "install", *packages]
        session.run(*command, external=True, silent=True, env={"DEBIAN_FRONTEND": "noninteractive"})
    env = {"CHROMIUM_REQUIRED": "1"} if os.environ.get("CI") else {}
    session.run("pytest", "-m", "browser", "tests/simulator", env=env)


@nox.session
def backends(session: nox.Session) -> None:
    """Export to OpenTelemetry's own collector, built by Go, and to Kafka, by Maven; required in CI, else skipped."""
    session.install("-e", EXTRAS, *groups("tests"))
    session.run("pytest", "-n", "4", "-m", "backends", "tests/otel", *session.posargs)
    # With one Kafka, of one process; nothing else covers its sink.
    session.run("coverage", "run", "-m", "pytest", "-m", "backends", "tests/delivery/backends")
    # A loaded machine is no measure of what is in time: `python -m benchmarks.otlp_ends` is, with nothing beside it.
    session.run("python", "-m", "benchmarks.otlp_ends", "--ends", "24", "--limit", "4")
    sequences = {"OTEL_SEQUENCES": "10000"}
    session.run("pytest", "-q", "-n", "2", "-k", "out_of_order", "tests/otel/test_span_making.py", env=sequences)


@nox.session
def bench(session: nox.Session) -> None:
    """Print benchmark ratios; never fails."""
    session.install("-e", EXTRAS, *groups("bench"))
    session.run("python", "-m", "benchmarks", *(session.posargs or CI_BENCH), success_codes=range(256))
