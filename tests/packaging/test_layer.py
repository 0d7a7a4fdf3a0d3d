"""A script becomes a layer that starts with nothing but what it brings, and is the same bytes each time."""

from __future__ import annotations

import json
import os
import platform
import socket
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lambda_extension.packaging import _layer
from lambda_extension.packaging._archive import write_zip
from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._layer import Layer, Plan, build
from lambda_extension.packaging._target import Target
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "x86_64")
SCRIPT = """\
import json
import os
import sys

import anyio
import helpers.words
import msgspec

from lambda_extension import open_telemetry


async def main():
    async with open_telemetry() as telemetry:
        print(json.dumps({"word": helpers.words.WORD, "path": sys.path, "files": [anyio.__file__, msgspec.__file__],
                          "greeting": os.environ.get("GREETING"), "name": __name__, "file": __file__}))
        async for event in telemetry:
            if event.type == "function":
                print("got", event.record)


if __name__ == "__main__":
    anyio.run(main)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extension")
    (folder / "helpers").mkdir()
    (folder / "helpers" / "__init__.py").write_text("")
    (folder / "helpers" / "words.py").write_text("WORD = 'own'\n")
    (folder / "unrelated.py").write_text("this is not Python\n")
    (folder / "notes.py").write_text(SCRIPT)
    return folder / "notes.py"


def plan(script: Path, **settings: object) -> Plan:
    target = settings.pop("target", Target(HERE, ARCH))  # type: ignore[arg-type]
    return Plan(script=script, name="notes", target=target, **settings)  # type: ignore[arg-type]


def made(script: Path, folder: Path, **settings: object) -> tuple[Path, Layer]:
    root = folder / "layer"
    root.mkdir(parents=True)
    return root, build(plan(script, **settings), root, folder / "scratch")


@pytest.fixture(scope="module")
def layer(script: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Layer]:
    return made(script, tmp_path_factory.mktemp("made"), environment={"GREETING": "from the layer"})


def command(root: Path) -> ExtensionSpec:
    return ExtensionSpec([sys.executable, "-IuS", str(root / "extensions" / "notes")], name="notes")


async def test_a_layer_runs_on_what_it_brings_alone(
    layer: tuple[Path, Layer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the function brings, and must not get in: other packages of the same names, by every way that there is.
    for package in ("anyio", "msgspec", "attrs", "lambda_extension"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the wrong package was imported')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "anyio" / "__init__.py"))
    root, made_layer = layer
    assert made_layer.registration.events == ("SHUTDOWN",)
    environment = {"PYTHONPATH": str(tmp_path)}
    function = ScriptedFunction(log_lines=["order 17"])
    async with Simulator(extensions=[command(root)], function=function, environment=environment) as lambda_:
        await lambda_.ready()
        await lambda_.invoke({})
    lines = [str(entry.detail["text"]) for entry in lambda_.record.find("output", who="notes")]
    assert "got order 17" in lines
    told = json.loads(lines[0])
    home = str(root / "notes")
    assert told["word"] == "own"
    assert told["path"][-1] == home
    assert not any("site-packages" in path or path == str(tmp_path) for path in told["path"])
    assert all(path.startswith(home) for path in told["files"])
    assert told["greeting"] == "from the layer"
    assert (told["name"], told["file"]) == ("__main__", f"{home}/notes.py")
    assert [entry.detail["code"] for entry in lambda_.record.find("process", "exit", who="notes")] == [0]


async def test_a_function_keeps_its_own_packages_beside_a_layer_with_others(
    layer: tuple[Path, Layer], tmp_path: Path
) -> None:
    names = ("anyio", "httpx", "msgspec")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("__version__ = 'the function\\'s own'\n")
    (tmp_path / "app.py").write_text(
        f"import {', '.join(names)}\n\n"
        f"def handler(event, context):\n    return [module.__version__ for module in ({', '.join(names)})]\n"
    )
    root, _ = layer
    environment = {"PYTHONPATH": str(tmp_path)}
    async with Simulator([command(root)], "app:handler", environment=environment, opt=root, timeout=20) as lambda_:
        result = await lambda_.invoke({})
        await lambda_.shutdown()
    assert result.payload == ["the function's own"] * 3
    told = json.loads(str(lambda_.record.find("output", who="notes")[0].detail["text"]))
    assert all("/notes/" in path for path in told["files"])
    assert lambda_.record.findings == []


async def test_a_variable_of_the_function_wins_over_the_layers_default(layer: tuple[Path, Layer]) -> None:
    root, _ = layer
    async with Simulator(extensions=[command(root)], environment={"GREETING": "from the function"}) as lambda_:
        await lambda_.ready()
    first = lambda_.record.find("output", who="notes")[0].detail["text"]
    assert json.loads(first)["greeting"] == "from the function"


def test_the_same_input_gives_the_same_bytes(script: Path, layer: tuple[Path, Layer], tmp_path: Path) -> None:
    again, _ = made(script, tmp_path / "at another time", environment={"GREETING": "from the layer"})
    for folder, name in ((layer[0], "one.zip"), (again, "two.zip")):
        write_zip(folder, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert str(tmp_path).encode() not in b"".join(path.read_bytes() for path in again.rglob("*") if path.is_file())


def test_modes_are_those_that_lambda_needs(layer: tuple[Path, Layer], tmp_path: Path) -> None:
    write_zip(layer[0], tmp_path / "layer.zip")
    with zipfile.ZipFile(tmp_path / "layer.zip") as archive:
        modes = {member.filename: member.external_attr >> 16 for member in archive.infolist()}
        assert {member.create_system for member in archive.infolist()} == {3}
    assert modes["extensions/notes"] == stat.S_IFREG | 0o755
    assert modes["notes/notes.py"] == stat.S_IFREG | 0o644
    assert all(mode & 0o444 == 0o444 for mode in modes.values())


def test_the_launcher_names_an_interpreter_of_lambdas_image(layer: tuple[Path, Layer]) -> None:
    first, _, rest = (layer[0] / "extensions" / "notes").read_bytes().partition(b"\n")
    assert first == f"#!/var/lang/bin/python{HERE} -IuS".encode()
    assert b"\r" not in rest


def test_what_only_tools_need_is_left_out(layer: tuple[Path, Layer]) -> None:
    root, made_layer = layer
    names = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    assert not [name for name in names if name.endswith((".pyi", "/RECORD", "/INSTALLER", ".lock")) or "/tests" in name]
    assert "notes/unrelated.py" not in names
    assert any(name.endswith("anyio-" + version_of(made_layer, "anyio") + ".dist-info/METADATA") for name in names)
    assert any("licenses/LICENSE" in name for name in names)
    assert {"lambda-extension", "anyio", "the extension itself"} <= {size.name for size in made_layer.sizes}
    assert sum(size.files for size in made_layer.sizes) == len([path for path in root.rglob("*") if path.is_file()])


def version_of(made_layer: Layer, name: str) -> str:
    (line,) = [line for line in made_layer.locked if line.startswith(f"{name}==")]
    return line.partition("==")[2]


def test_bytecode_is_used_without_a_look_at_its_source(layer: tuple[Path, Layer]) -> None:
    root, _ = layer
    for path in (root / "notes").rglob("*.pyc"):
        (flags,) = struct.unpack("<I", path.read_bytes()[4:8])
        assert flags == 0b01, path  # a hash that is not checked
    compiled = root / "notes" / "__pycache__" / f"notes.cpython-{HERE.replace('.', '')}.pyc"
    assert b"/opt/notes/notes.py" in compiled.read_bytes()


async def test_without_sources_it_runs_too(script: Path, tmp_path: Path) -> None:
    root, _ = made(script, tmp_path, sources=False)
    assert not (root / "notes" / "notes.py").exists()
    async with Simulator(extensions=[command(root)]) as lambda_:
        await lambda_.ready()
        await lambda_.invoke({})
    assert [entry.detail["code"] for entry in lambda_.record.find("process", "exit", who="notes")] == [0]


def test_lean_leaves_hypercorn_and_what_it_alone_needs_out(script: Path, tmp_path: Path) -> None:
    _, made_layer = made(script, tmp_path, lean=True, events=("SHUTDOWN",))
    names = {line.partition("==")[0] for line in made_layer.locked}
    assert not names & {"hypercorn", "h2", "hpack", "hyperframe", "priority", "wsproto"}
    assert {"anyio", "attrs", "h11", "httptools", "httpx", "lambda-extension", "msgspec"} <= names


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_wheels_are_those_of_the_target(script: Path, tmp_path: Path, python: str) -> None:
    root, made_layer = made(script, tmp_path, target=Target(python, "arm64"), events=("SHUTDOWN",))
    compiled = list((root / "notes").rglob("*.so"))
    assert compiled
    for path in compiled:
        head = path.read_bytes()[:20]
        assert head[:4] == b"\x7fELF"
        assert struct.unpack("<H", head[18:20]) == (183,)  # EM_AARCH64
        assert f"cpython-{python.replace('.', '')}" in path.name or "abi3" in path.name
    assert not made_layer.registration.account_id


def test_a_script_that_does_not_register_is_refused_with_what_it_said(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("import no_such_module\n")
    with pytest.raises(PackagingError, match="No module named 'no_such_module'"):
        made(script, tmp_path / "made")


@pytest.mark.parametrize(
    ("name", "installed", "reason"),
    [
        ("shop/__init__.py", "shop/__init__.py", "would hide what the extension's dependencies have under this name"),
        ("shop.py", "shop/__init__.py", "would hide what the extension's dependencies have under this name"),
        ("notes.py", "notes.py", "would hide what the extension's dependencies have under this name"),
        ("secrets.py", None, "has the name of a module of Python's own, and that is found first in a layer"),
    ],
)
def test_a_module_that_would_be_taken_for_another_is_refused(
    tmp_path: Path, name: str, installed: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(_: Plan, home: Path, __: Path) -> list[str]:
        if installed is not None:
            (home / installed).parent.mkdir(exist_ok=True)
            (home / installed).touch()
        return []

    monkeypatch.setattr(_layer, "_install", install)
    (tmp_path / "notes.py").write_text("import shop\nimport secrets\n")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(PackagingError, match=rf"{name} {reason}: give it another"):
        made(tmp_path / "notes.py", tmp_path / "made", events=("SHUTDOWN",))


def test_a_script_or_a_module_of_its_own_that_is_not_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.py").write_text("import words\n")
    (tmp_path / "words.py").write_text("no Python\n")
    with pytest.raises(PackagingError, match=r"words.py is not valid Python"):
        made(tmp_path / "notes.py", tmp_path / "made", events=("SHUTDOWN",))


def test_dependencies_that_a_script_declares_are_installed(tmp_path: Path) -> None:
    script = tmp_path / "notes.py"
    script.write_text('# /// script\n# dependencies = ["iniconfig"]\n# ///\nimport iniconfig\n')
    _, made_layer = made(script, tmp_path / "made", events=("SHUTDOWN",))
    assert version_of(made_layer, "iniconfig")


def test_the_wheel_of_a_project_is_installed(tmp_path: Path) -> None:
    project = tmp_path / "shop"
    (project / "src" / "shop").mkdir(parents=True)
    (project / "src" / "shop" / "__init__.py").write_text("")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "shop"\nversion = "2.0"\n'
    )
    script = tmp_path / "notes.py"
    script.write_text("import shop\n")
    root, made_layer = made(script, tmp_path / "made", project=project, events=("SHUTDOWN",))
    assert version_of(made_layer, "shop") == "2.0"
    assert (root / "notes" / "shop" / "__init__.py").exists()


def test_a_project_without_a_build_system_gives_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "2.0"\ndependencies = ["iniconfig"]\n'
    )
    script = tmp_path / "notes.py"
    script.write_text("import iniconfig\n")
    _, made_layer = made(script, tmp_path / "made", project=tmp_path, events=("SHUTDOWN",))
    assert version_of(made_layer, "iniconfig")
    assert not [line for line in made_layer.locked if line.startswith("shop")]


@pytest.mark.parametrize(("text", "reason"), [(None, "has no pyproject.toml"), ("no TOML", "is not TOML")])
def test_a_folder_that_is_no_project_is_refused(tmp_path: Path, text: str | None, reason: str) -> None:
    (tmp_path / "notes.py").write_text("")
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(PackagingError, match=reason):
        made(tmp_path / "notes.py", tmp_path / "made", project=tmp_path, events=("SHUTDOWN",))


def test_work_before_register_is_left_to_the_extension(script: Path, tmp_path: Path) -> None:
    root, made_layer = made(script, tmp_path, early=False)
    assert made_layer.registration.events == ("SHUTDOWN",)
    assert b"early" not in (root / "extensions" / "notes").read_bytes()


def test_a_dependency_without_a_fitting_wheel_is_named(tmp_path: Path) -> None:
    script = tmp_path / "notes.py"
    script.write_text('# /// script\n# dependencies = ["pywin32"]\n# ///\n')
    with pytest.raises(PackagingError, match="pywin32 has no wheel for Python"):
        made(script, tmp_path / "made", events=("SHUTDOWN",))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is no extension's name"),
        ("two words", "is no extension's name"),
        ("é", "is no extension's name"),
        (".hidden", "is no extension's name"),
        ("x" * 129, "is no extension's name"),
        ("python", "Lambda gives /opt/python a meaning of its own"),
    ],
)
def test_a_name_that_lambda_cannot_use_is_refused(name: str, reason: str) -> None:
    with pytest.raises(PackagingError, match=reason):
        Plan(script=Path("x.py"), name=name, target=Target("3.13", "arm64"))


def test_a_script_under_another_name_is_told_apart(tmp_path: Path) -> None:
    script = tmp_path / "notes.py"
    script.write_text(
        SCRIPT.replace("open_telemetry()", "open_telemetry(name='other')").replace("import helpers.words\n", "")
    )
    with pytest.raises(PackagingError, match=r"registers as 'other'.*say --name other"):
        made(script, tmp_path / "made")


def test_a_layer_that_cannot_start_ends_with_a_clear_last_line(layer: tuple[Path, Layer], tmp_path: Path) -> None:
    root, _ = layer
    copy = tmp_path / "opt"
    subprocess.run(["cp", "-r", str(root), str(copy)], check=True)
    for path in (copy / "notes" / "msgspec").iterdir():
        if path.is_file():
            path.unlink()
    done = subprocess.run(
        [sys.executable, "-IuS", str(copy / "extensions" / "notes")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("notes cannot start: ImportError:")


def test_a_layer_registers_before_it_imports_anything(layer: tuple[Path, Layer]) -> None:
    """Lambda starts the function once every extension has registered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        process = subprocess.Popen(
            [sys.executable, "-IuS", "-X", "importtime", str(layer[0] / "extensions" / "notes")],
            stderr=subprocess.PIPE,
            env={"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.getsockname()[1]}"},
        )
        try:
            connection, _ = server.accept()
            with connection:
                request = connection.recv(65_536)
        finally:
            process.kill()
            _, errors = process.communicate(timeout=10)
    assert request.startswith(b"POST /2020-01-01/extension/register HTTP/1.1\r\n")
    assert b"Lambda-Extension-Name: notes\r\n" in request
    assert request.endswith(b'{"events":["SHUTDOWN"]}')
    imported = [line.rpartition(b"|")[2].strip().decode() for line in errors.splitlines() if b"|" in line]
    assert not {"anyio", "json", "lambda_extension", "re", "typing"} & set(imported[: imported.index("early")])
