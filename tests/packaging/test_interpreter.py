"""A layer with an interpreter of its own, and the odd ends of packaging."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Literal

import pytest

from lambda_extension.packaging._bytecode import compile_all
from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._interpreter import bundle, prefix_of
from lambda_extension.packaging._layer import Plan, build
from lambda_extension.packaging._registration import learn_registration
from lambda_extension.packaging._sizes import MOST_UNZIPPED, MOST_ZIPPED, too_heavy
from lambda_extension.packaging._target import Target, find_python

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCH: Literal["x86_64", "arm64"] = "arm64" if platform.machine() == "aarch64" else "x86_64"
TARGET = Target(HERE, ARCH)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "notes.py").write_text("import asyncio\nimport json\nimport plistlib\n")
    (home / "other.py").write_text("this is for another Python\n")
    return home


def test_an_interpreter_brings_what_the_extension_imports_and_runs(home: Path, tmp_path: Path) -> None:
    python = bundle(prefix_of(Path(sys.base_prefix), TARGET, tmp_path / "scratch"), home, TARGET)
    assert python == home / "python" / "bin" / f"python{HERE}"
    code = "import sys, json, plistlib, asyncio; print(sys.prefix); print(json.__file__)"
    done = subprocess.run([str(python), "-IuS", "-c", code], capture_output=True, text=True, check=True)
    prefix, module = done.stdout.splitlines()
    assert prefix == str(home / "python")
    assert module.startswith(prefix)
    library = home / "python" / "lib" / f"python{HERE}"
    assert not [name for name in ("tkinter", "test", "idlelib", "sqlite3", "pydoc.py") if (library / name).exists()]
    assert (library / "plistlib.py").exists()
    done = subprocess.run([str(python), "-IuS", "-c", "import sqlite3"], capture_output=True, text=True, check=False)
    assert "No module named 'sqlite3'" in done.stderr


def test_an_interpreter_comes_out_of_an_archive_too(home: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "python"
    (prefix / "bin").mkdir(parents=True)
    program = b"\x7fELF" + bytes(14) + (183 if ARCH == "arm64" else 62).to_bytes(2, "little")
    (prefix / "bin" / f"python{HERE}").write_bytes(program)
    library = prefix / "lib" / f"python{HERE}"
    (library / "lib-dynload").mkdir(parents=True)
    for name in ("os.py", "json.py", "smtplib.py", f"lib-dynload/_json.cpython-{HERE.replace('.', '')}-x.so"):
        (library / name).write_text("import _json\n")
    (prefix / "lib" / f"libpython{HERE}.so.1.0").write_text("")
    with tarfile.open(tmp_path / "cpython.tar.gz", "w:gz") as archive:
        archive.add(prefix, "python")
    found = prefix_of(tmp_path / "cpython.tar.gz", TARGET, tmp_path / "scratch")
    assert TARGET.find_python(found) == sys.executable  # it starts no more than one for another processor does
    bundle(found, home, TARGET)
    copied = {path.relative_to(home / "python").as_posix() for path in (home / "python").rglob("*") if path.is_file()}
    assert copied == {
        f"bin/python{HERE}",
        f"lib/libpython{HERE}.so.1.0",
        f"lib/python{HERE}/os.py",
        f"lib/python{HERE}/json.py",
        f"lib/python{HERE}/lib-dynload/_json.cpython-{HERE.replace('.', '')}-x.so",
    }


def test_no_interpreter_where_one_is_expected_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackagingError, match=f"has no bin/python{HERE}"):
        prefix_of(tmp_path / "empty", TARGET, tmp_path / "scratch")
    (tmp_path / "broken.tar.gz").write_text("no archive")
    with pytest.raises(PackagingError, match=r"cannot be unpacked(?s:.*)take what ends in install_only\.tar\.gz"):
        prefix_of(tmp_path / "broken.tar.gz", TARGET, tmp_path / "scratch")


def test_an_interpreter_for_another_processor_is_refused(tmp_path: Path) -> None:
    other = Target(HERE, "x86_64" if ARCH == "arm64" else "arm64")
    with pytest.raises(
        PackagingError, match=rf"is not for Linux on {other.arch}: take one for {other.machine}-linux-gnu"
    ):
        prefix_of(Path(sys.base_prefix), other, tmp_path)


def test_what_is_not_valid_in_the_targets_python_is_named(home: Path) -> None:
    with pytest.raises(PackagingError, match=rf"not all of it is valid in Python {HERE}(?s:.*)other.py"):
        compile_all(home, TARGET, python=sys.executable, runtime_root="/opt/notes")


def test_lambdas_limits_of_size_are_known() -> None:
    assert too_heavy(MOST_ZIPPED, MOST_UNZIPPED) == []
    unzipped, zipped = too_heavy(MOST_ZIPPED + 1, MOST_UNZIPPED + 1)
    assert f"may have {MOST_UNZIPPED:,}" in unzipped
    assert "only be uploaded through S3" in zipped


def test_a_python_that_does_not_start_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "3.12" if HERE != "3.12" else "3.11"
    shim = tmp_path / f"python{other}"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    assert Target(other, "x86_64").find_python() is None
    shim.write_text("#!/bin/sh\nexit 0\n")
    assert Target(other, "x86_64").find_python() == str(shim)


@pytest.mark.parametrize("where", ["~/.pyenv", "PYENV_ROOT"])
def test_what_pyenv_has_is_found_though_its_shim_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    root = tmp_path / (".pyenv" if where == "~/.pyenv" else "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", "" if where == "~/.pyenv" else str(root))
    shim, installed = root / "shims/python9.9", root / "versions/9.9.1/bin/python9.9"
    for path, status in [(shim, 127), (installed, 0)]:
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\nexit {status}\n")
        path.chmod(0o755)
    assert find_python("9.9", str(shim.parent)) == str(installed)


def test_a_process_that_asks_for_something_else_first_is_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "asks.py"
    script.write_text(
        "import http.client, os\n"
        "for path in ('/elsewhere', '/2020-01-01/extension/register'):\n"
        "    connection = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
        "    headers = {'Lambda-Extension-Name': 'asks', 'Lambda-Extension-Accept-Feature': 'accountId'}\n"
        "    connection.request('POST', path, b'{\"events\": [\"INVOKE\"]}', headers)\n"
        "    connection.getresponse().read()\n"
    )
    call = learn_registration([sys.executable, str(script)], os.environ)
    assert (call.name, call.events, call.account_id) == ("asks", ("INVOKE",), True)


@pytest.mark.timeout(600)  # it copies a whole Python, on a busy machine too
def test_a_layer_with_an_interpreter_names_it_in_its_launcher(tmp_path: Path) -> None:
    script = tmp_path / "notes.py"
    script.write_text("import plistlib\n")
    root = tmp_path / "layer"
    root.mkdir()
    plan = Plan(script=script, name="notes", target=TARGET, interpreter=Path(sys.base_prefix), events=(), sources=False)
    layer = build(plan, root, tmp_path / "scratch")
    assert (root / "extensions" / "notes").read_bytes().startswith(b"#!/opt/notes/python/bin/python")
    assert "the interpreter" in {size.name for size in layer.sizes}
    # It is what the layer is tried with, since what was left out of it is found by that alone.
    assert layer.interpreter == str(root / "notes" / "python" / "bin" / f"python{HERE}")
