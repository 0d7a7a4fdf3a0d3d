"""Ways to break a layer, each found by `doctor` or `package` in words that say what to do."""

from __future__ import annotations

import json
import platform
import stat
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from lambda_extension.cli._commands import commands

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHER = "3.12" if HERE != "3.12" else "3.13"
# On nothing but the interpreter: register, then next for ever. `%s` is what it registers as, `%r` for what.
EXTENSION = """
import json, os, sys, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
def call(path, headers, body=None):
    return urllib.request.urlopen(urllib.request.Request(api + path, body, headers))
answer = call("register", {"Lambda-Extension-Name": %s}, json.dumps({"events": %r}).encode())
me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
while json.load(call("event/next", me))["eventType"] != "SHUTDOWN":
    pass
"""
BOTH = ["INVOKE", "SHUTDOWN"]
OWN_NAME = "os.path.basename(sys.argv[0])"
GOOD = "#!/usr/bin/env python3" + EXTENSION % (OWN_NAME, BOTH)
LAUNCHER = '#!/bin/sh\nexec python3 "$(dirname "$0")/../mine/%s"\n'


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if "extensions/" in name else 0o644)
    return root


def of(files: dict[str, str | bytes]) -> Callable[[Path], Path]:
    return lambda folder: write(folder / "layer", files)


def elf(machine: int) -> bytes:
    return b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little") + bytes(64)


def linked(folder: Path) -> Path:
    root = write(folder / "layer", {"extensions/x": GOOD})
    (root / "mine").symlink_to("/usr/share/mine")
    return root


def zipped(folder: Path, *entries: tuple[str, int, str]) -> Path:
    with zipfile.ZipFile(folder / "layer.zip", "w") as archive:
        for name, mode, text in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(info, text)
    return folder / "layer.zip"


def large(folder: Path) -> Path:
    root = write(folder / "layer", {"extensions/x": GOOD})
    with (root / "data").open("wb") as file:
        file.truncate(251 * 1024 * 1024)
    return root


def old_bytecode(folder: Path) -> Path:
    source = "".join(f"NAME_{number} = {number}\n" for number in range(6_000))
    files: dict[str, str | bytes] = {"mine/big.py": source, "mine/__pycache__/big.cpython-38.pyc": b"old"}
    return write(folder / "layer", {"extensions/x": GOOD, **files})


BROKEN: dict[str, tuple[Callable[[Path], Path], str, str, str]] = {
    # The three that a newcomer met first.
    "a launcher that registers its program's name": (
        of({"extensions/x": LAUNCHER % "x.py", "mine/x.py": EXTENSION % (OWN_NAME, BOTH)}),
        "registers and asks for next in time",
        "fail",
        "It registered as 'x.py', which is no file name of an extension; expected is 'x'.",
    ),
    "packages in /opt/python": (
        of({"extensions/x": GOOD.replace("import json", "import her, json", 1), "python/her/__init__.py": ""}),
        "packages",
        "fail",
        "put /opt/python into sys.path, or in the launcher into PYTHONPATH",
    ),
    "another Python's bytecode": (
        old_bytecode,
        "bytecode",
        "warn",
        f"none of Python {HERE}, but some of 3.8, so that each cold start compiles them",
    ),
    # Fifteen more.
    "the wrong folder": (
        of({"my-layer/extensions/x": GOOD}),
        "layout",
        "fail",
        "zip what is in my-layer/, not my-layer/ itself",
    ),
    "a missing bit": (
        lambda folder: zipped(folder, ("extensions/x", 0o644, GOOD)),
        "executable",
        "fail",
        "needs 755 (chmod 755 x)",
    ),
    "CRLF": (of({"extensions/x": GOOD.replace("\n", "\r\n")}), "shebang", "fail", "save the file with LF"),
    "the wrong Python": (
        of({"extensions/x": f"#!/var/lang/bin/python{OTHER}\n", "mine/a.cpython-39-x86_64-linux-gnu.so": elf(62)}),
        "Python of compiled modules",
        "fail",
        "install with --python-version of the function's runtime",
    ),
    "the wrong architecture": (
        of({"extensions/x": GOOD, "mine/a.so": elf(62), "mine/b.so": elf(183)}),
        "architecture of compiled modules",
        "fail",
        "a function has one architecture; make one layer for each",
    ),
    "a name with dots": (
        of({"extensions/audit.sh": LAUNCHER % "audit.py", "mine/audit.py": EXTENSION % ("'audit'", BOTH)}),
        "registers and asks for next in time",
        "fail",
        "It registered as 'audit', which is no file name of an extension; expected is 'audit.sh'.",
    ),
    "too large": (large, "size", "fail", "may have 250 MB; leave out what is not imported"),
    "a script that prints nothing": (
        of({"extensions/x": "#!/bin/sh\nexit 0\n"}),
        "registers and asks for next in time",
        "fail",
        "It printed nothing: let it say what it does (sh -x, a print).",
    ),
    "extensions/ nested one level too deep": (
        of({"extensions/x/x": GOOD}),
        "layout",
        "fail",
        "one level too deep: Lambda starts only the files directly in extensions/; move it up",
    ),
    "symlinks": (linked, "links", "fail", "will not be there on Lambda: put the files themselves in the layer"),
    "a byte order mark": (of({"extensions/x": "\ufeff" + GOOD}), "shebang", "fail", "save the file without one"),
    "no SHUTDOWN": (
        of({"extensions/x": "#!/usr/bin/env python3" + EXTENSION % (OWN_NAME, ["INVOKE"])}),
        "registers for SHUTDOWN",
        "warn",
        "what it still holds is lost; register for SHUTDOWN too",
    ),
    "two files with one name": (
        lambda folder: zipped(folder, ("extensions/x", 0o755, GOOD), ("extensions/x", 0o755, GOOD)),
        "one file of a name",
        "fail",
        "only one of them will be there: write the zip file anew",
    ),
    "two extensions with one name": (
        of({"extensions/x": GOOD, "extensions/y": GOOD.replace(OWN_NAME, "'x'")}),
        "registers once",
        "fail",
        "each file of extensions/ registers under its own name, once",
    ),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("way", BROKEN)
def test_doctor_finds_what_is_broken_and_says_what_to_do(way: str, tmp_path: Path) -> None:
    make, name, verdict, words = BROKEN[way]
    result = CliRunner().invoke(commands, ["doctor", str(make(tmp_path)), "--json"])
    found = json.loads(result.stdout)
    named = [check for check in found["checks"] if check["name"] == name and check["verdict"] == verdict]
    assert named, found
    assert words in " ".join(check["reason"] for check in named)
    assert result.exit_code == (verdict == "fail")


def test_doctor_says_that_it_is_the_bytecode_and_not_the_sources(tmp_path: Path) -> None:
    root = old_bytecode(tmp_path)
    tag = f"cpython-{HERE.replace('.', '')}"
    (root / "mine" / "__pycache__" / f"big.{tag}.pyc").write_bytes(b"new")
    result = CliRunner().invoke(commands, ["doctor", str(root), "--json"])
    (check,) = [check for check in json.loads(result.stdout)["checks"] if check["name"] == "bytecode"]
    assert check["verdict"] == "pass"


# -- what `package` finds: no layer is made, or it says what is wrong with it


def package(script: Path, *arguments: str) -> tuple[int, str]:
    command = ["package", str(script), "--python", HERE, "-o", str(script.with_suffix(".zip")), *arguments]
    if platform.machine() == "aarch64":
        command += ["--arch", "arm64"]
    result = CliRunner().invoke(commands, command)
    return result.exit_code, " ".join(result.output.split())


def test_package_names_a_compiled_dependency_without_a_wheel(tmp_path: Path) -> None:
    script = tmp_path / "notes.py"
    script.write_text('# /// script\n# dependencies = ["pywin32"]\n# ///\n')
    code, said = package(script, "--events", "SHUTDOWN")
    assert code == 1
    assert "pywin32 has no wheel for Python" in said
    assert "choose a version that has one, build one in Lambda's image" in said


@pytest.fixture
def model() -> Iterator[Path]:
    """A file that this machine has in /tmp, and Lambda has not."""
    with tempfile.NamedTemporaryFile(prefix="model-", dir="/tmp") as file:
        yield Path(file.name)


def test_package_finds_a_dependency_that_needs_something_in_tmp_at_import(tmp_path: Path, model: Path) -> None:
    (tmp_path / "dependency.py").write_text(f"SIZE = len(open('/tmp/' + {model.name!r}).read())\n")
    script = tmp_path / "notes.py"
    script.write_text(f"import dependency\n{EXTENSION % (repr('notes'), BOTH)}")
    code, said = package(script)
    assert code == 1, said
    assert "fails when it is tried" in said
    assert f"No such file or directory: '/tmp/{model.name}'" in said
    assert "/tmp is empty at first: put what is needed there into the layer, or make it" in said


def test_package_finds_a_script_that_prints_nothing(tmp_path: Path) -> None:
    script = tmp_path / "notes.py"
    script.write_text("pass\n")
    code, said = package(script)
    assert code == 1
    assert "it printed nothing Mend that, or say --events" in said


def test_package_warns_of_an_extension_that_is_killed_at_the_end(tmp_path: Path) -> None:
    script = tmp_path / "notes.py"
    script.write_text(EXTENSION % (repr("notes"), ["INVOKE"]))
    code, said = package(script, "--no-early")
    assert code == 0, said
    assert "what it still holds is lost: ask for SHUTDOWN too" in said
