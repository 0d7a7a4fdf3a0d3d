"""Layers as `lambda-extension package` makes them, unzipped under /opt, started by AWS's own emulator."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.harness import OUTPUT, Emulator
from http_servers import QuietHandler, serving
from lambda_extension.packaging._archive import write_zip
from lambda_extension.packaging._layer import Plan, build
from lambda_extension.packaging._ready_made import extras_for, with_destinations
from lambda_extension.packaging._target import Target
from waiting import eventually

pytestmark = pytest.mark.emulator

PROGRAMS = Path(__file__).with_name("programs")
ARCH = "arm64" if platform.machine() == "aarch64" else "x86_64"
NODE_PATH = None if (found := shutil.which("node")) is None else str(Path(found).resolve())
PYTHONS = [version for version in ("3.11", "3.12", "3.13", "3.14") if Target(version, "x86_64").find_python()]
SCRIPT = f"""\
import os
import sys

import anyio
import httpx
import msgspec

from lambda_extension import open_extension

NOTES = "{OUTPUT}/notes"


async def main():
    async with open_extension() as extension:
        with open(NOTES, "a") as notes:
            print("files", httpx.__file__, msgspec.__file__, anyio.__file__, file=notes)
            print("python", *sys.version_info[:2], sys.executable, file=notes)
        async for invocation in extension:
            with open(NOTES, "a") as notes:
                print("invoked", invocation.request_id, file=notes)
        with open(NOTES, "a") as notes:
            print("ended", extension.shutdown.reason, file=notes)


anyio.run(main)
"""
# Packages of the function that would break the extension, had they a way into it.
CONFLICTS = {
    f"{package}/__init__.py": f"raise SystemExit('the {package} of the function got into the extension')\n"
    for package in ("anyio", "httpx", "msgspec", "attrs", "lambda_extension")
}
NODE = """#!/bin/sh
exec "$NODE" /var/task/bootstrap.js
"""
NODE_RUNTIME = """
const http = require("http");
const api = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
function call(method, path, body, then) {
  const options = {host: api[0], port: api[1], path: "/2018-06-01/runtime/" + path, method: method};
  const request = http.request(options, (answer) => {
    answer.resume();
    answer.on("end", () => then(answer.headers));
  });
  request.end(body);
}
function serve() {
  call("GET", "invocation/next", undefined, (headers) => {
    const id = headers["lambda-runtime-aws-request-id"];
    call("POST", "invocation/" + id + "/response", JSON.stringify({requestId: id, node: process.version}), serve);
  });
}
serve();
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # of the test


def unzipped(plan: Plan, folder: Path) -> Path:
    """Make the layer's zip file, and lay it out as Lambda does."""
    (folder / "made").mkdir(parents=True)
    build(plan, folder / "made", folder / "scratch")
    write_zip(folder / "made", folder / "layer.zip")
    opt = folder / "opt"
    with zipfile.ZipFile(folder / "layer.zip") as archive:
        for member in archive.infolist():
            path = Path(archive.extract(member, opt))
            path.chmod(member.external_attr >> 16 & 0o777)
    return opt


def real_path(interpreter: str) -> str:
    """Return the interpreter itself, where this one is of a virtual environment."""
    code = "import os, sys; print(os.path.realpath(sys.executable))"
    return subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def script(folder: Path, *, managed: bool) -> Path:
    path = folder / "notes.py"
    path.write_text(SCRIPT)
    return path


async def lines(emulator: Emulator, last: str) -> list[str]:
    notes = emulator.output / "notes"
    await eventually(lambda: notes.exists() and last in notes.read_text(), within=15)
    return notes.read_text().splitlines()


@pytest.mark.parametrize("managed", [False, True], ids=["standard", "managed"])
@pytest.mark.parametrize("python", PYTHONS)
async def test_a_layer_runs_beside_a_function_whose_own_packages_conflict(
    emulator_binary: Path, tmp_path: Path, python: str, *, managed: bool
) -> None:
    target = Target(python, ARCH)  # type: ignore[arg-type]
    interpreter = target.find_python()
    assert interpreter is not None
    opt = unzipped(Plan(script=script(tmp_path, managed=managed), name="notes", target=target), tmp_path / "layer")
    task = {"function.py": (PROGRAMS / "function.py").read_text(), **CONFLICTS}
    run = Emulator(
        emulator_binary,
        tmp_path / "run",
        managed=managed,
        layer=opt,
        interpreters={target.interpreter: real_path(interpreter)},
        task=task,
        bootstrap=f"#!{sys.executable}\n" + (PROGRAMS / "bootstrap.py").read_text(),
        environment={"PYTHONPATH": "/var/task"},
    )
    async with run as emulator:
        answer = (await emulator.invoke({"lines": 0, "tag": "none"})).json()
        if not managed:
            await lines(emulator, f"invoked {answer['requestId']}")
        emulator.terminate()
        noted = await lines(emulator, "ended")
    assert noted[0].count("/opt/notes/") == 3, noted[0]
    assert noted[1].startswith(f"python {python.replace('.', ' ')} ")


@pytest.fixture
def loki() -> Iterator[tuple[str, list[str]]]:
    bodies: list[str] = []

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Encoding"] == "gzip"
            bodies.append(self.read_body().decode())
            self.answer(204)

    with serving(Handler) as url:
        yield url, bodies


@pytest.mark.parametrize("managed", [False, True], ids=["standard", "managed"])
async def test_the_ready_made_extension_ships_without_code(
    emulator_binary: Path, tmp_path: Path, loki: tuple[str, list[str]], *, managed: bool
) -> None:
    url, bodies = loki
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = Target(version, ARCH)  # type: ignore[arg-type]
    environment = with_destinations(["loki"], {"LAMBDA_EXTENSION_POLICY": "continuous"})
    plan = Plan(script=None, name="ship", target=target, environment=environment, extras=extras_for(environment))
    opt = unzipped(plan, tmp_path / "layer")
    run = Emulator(
        emulator_binary,
        tmp_path / "run",
        managed=managed,
        layer=opt,
        interpreters={target.interpreter: real_path(sys.executable)},
        task={"function.py": (PROGRAMS / "function.py").read_text(), **CONFLICTS},
        bootstrap=f"#!{sys.executable}\n" + (PROGRAMS / "bootstrap.py").read_text(),
        environment={
            "PYTHONPATH": "/var/task",
            "LAMBDA_EXTENSION_LOKI_URL": url,
            "LAMBDA_EXTENSION_LOKI_LABELS": "app=shop",
        },
    )
    async with run as emulator:
        if managed:  # the emulator leaves out what it would send while its batch before that is still under way
            await eventually(lambda: "telemetry HTTP request completed" in emulator.log, within=40)
        answer = (await emulator.invoke({"lines": 3, "tag": "shipped"})).json()
        assert "requestId" in answer
        if managed:
            await eventually(lambda: "logged shipped" in "".join(bodies), within=40)
        else:  # where there is no telemetry, it goes on without
            assert "going on without telemetry" in emulator.log
        emulator.terminate()
        await emulator.wait()
        assert managed or "delivery loki until" in emulator.log
    assert ('"app":"shop"' in "".join(bodies)) is managed


@pytest.mark.timeout(600)  # it copies a whole Python, on a busy machine too
async def test_a_node_function_gets_an_extension_with_an_interpreter_of_its_own(
    emulator_binary: Path, tmp_path: Path
) -> None:
    if NODE_PATH is None:
        pytest.skip("there is no Node here")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    plan = Plan(
        script=script(tmp_path, managed=False),
        name="notes",
        target=Target(version, ARCH),  # type: ignore[arg-type]
        interpreter=Path(sys.base_prefix),
    )
    opt = unzipped(plan, tmp_path / "layer")
    run = Emulator(
        emulator_binary,
        tmp_path / "run",
        layer=opt,
        task={"bootstrap.js": NODE_RUNTIME},
        bootstrap=NODE,
        environment={"NODE": NODE_PATH},
    )
    async with run as emulator:
        answer = (await emulator.invoke({})).json()
        assert answer["node"].startswith("v")
        await lines(emulator, f"invoked {answer['requestId']}")
        emulator.terminate()
        noted = await lines(emulator, "ended")
    assert noted[1].endswith(f" /opt/notes/python/bin/python{version}")
