"""What an extension needs, as wheels for the target: nothing is built, and nothing of the host gets in."""

from __future__ import annotations

import importlib.metadata
import io
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from packaging.specifiers import SpecifierSet

import lambda_extension
from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._target import Target

OWN: Final = "lambda-extension"
_SCRIPT_METADATA: Final = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
# How installers name what has no wheel for the target, and what does not exist at all.
_NO_WHEEL: Final = re.compile(
    r"No matching distribution found for (?P<pip>[A-Za-z0-9._-]+)"
    r"|Because (?:all versions of )?(?P<uv>[A-Za-z0-9._-]+)\S* (?:has|have) no (?:usable )?wheels"
)
_UNKNOWN: Final = re.compile(r"Because (?P<name>[A-Za-z0-9._-]+) was not found in the package registry")


def script_requirements(source: str, target: Target) -> list[str]:
    """Return the dependencies that a script declares in its inline metadata (PEP 723); none without such a block.

    Raises:
        PackagingError: The block is not TOML, or asks for another Python.
    """
    found = _SCRIPT_METADATA.search(source)
    if found is None:
        return []
    lines = found["content"].splitlines()
    try:
        metadata = tomllib.loads("\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines))
    except tomllib.TOMLDecodeError as error:
        msg = f"the script's inline metadata is not TOML: {error}"
        raise PackagingError(msg) from error
    _check_python("the script", metadata.get("requires-python"), target)
    return [str(requirement) for requirement in metadata.get("dependencies", [])]


def _check_python(who: str, wanted: object, target: Target) -> None:
    """Refuse a Python that somebody cannot run on; any release of it will do."""
    if isinstance(wanted, str) and not any(SpecifierSet(wanted).contains(f"{target.python}.{n}") for n in range(100)):
        msg = f"{who} asks for Python {wanted}, and the layer is for {target.python}: say another one by --python"
        raise PackagingError(msg)


def install(
    requirements: Sequence[str], into: Path, target: Target, *, scratch: Path, requirement_files: Iterable[Path] = ()
) -> None:
    """Install wheels for the target, by uv where it is there, else by pip; blocks, and may ask package indexes.

    This library itself is not asked of an index: what runs here goes in.

    Args:
        requirements: What to install, one requirement each.
        into: An empty folder.
        target: What the wheels must fit.
        scratch: A folder for what is needed only meanwhile.
        requirement_files: Files with more requirements, in pip's form.

    Raises:
        PackagingError: Something has no wheel that fits, or cannot be found; the message names it.
    """
    wheels = scratch / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    _own_wheel(wheels)
    constraints = scratch / "constraints.txt"
    constraints.write_text(f"{OWN}=={importlib.metadata.version(OWN)}\n", encoding="utf-8")
    command = installer(target, uv=shutil.which("uv"))
    command += ["--target", str(into), "--find-links", str(wheels), "-c", str(constraints)]
    command += [argument for path in requirement_files for argument in ("-r", str(path))]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise PackagingError(failure(done.stderr, target))


def project_requirements(project: Path, target: Target, scratch: Path) -> list[str]:
    """Return what to install for a project: its wheel, or where it has no build system, its dependencies; blocks.

    Raises:
        PackagingError: It has no `pyproject.toml`, or cannot be built, or asks for another Python.
    """
    file = project / "pyproject.toml"
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{project} has no pyproject.toml, which says what the extension needs: write one, or use --requirements"
        raise PackagingError(msg) from None
    except tomllib.TOMLDecodeError as error:
        msg = f"{file} is not TOML: {error}"
        raise PackagingError(msg) from error
    _check_python(str(project), table.get("project", {}).get("requires-python"), target)
    if "build-system" in table:
        return [str(project_wheel(project, scratch))]
    return [str(requirement) for requirement in table.get("project", {}).get("dependencies", [])]


def project_wheel(project: Path, scratch: Path) -> Path:
    """Build the wheel of a pure-Python project; blocks.

    Raises:
        PackagingError: It cannot be built, or holds compiled code, which would be the host's.
    """
    out = scratch / "project"
    uv = shutil.which("uv")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w"]
    build = [uv, "build", "-q", "--wheel", "-o"] if uv else pip
    done = subprocess.run([*build, str(out), str(project)], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        msg = f"{project} cannot be built:\n{done.stderr.strip()}"
        raise PackagingError(msg)
    (wheel,) = out.glob("*.whl")
    if not wheel.name.endswith("-none-any.whl"):
        msg = f"{project} has compiled code, built for this machine ({wheel.name}): require a wheel for Lambda instead"
        raise PackagingError(msg)
    return wheel


def installer(target: Target, *, uv: str | None) -> list[str]:
    """Return the head of the command that installs wheels for a target, by uv, or by pip where that is None."""
    if uv is not None:
        # uv takes one platform and derives the older ones from it; it knows no glibc between 2.17 and 2.28.
        newest = next(tag for tag in target.platforms if re.match(r"manylinux_2_(17|28|3[1-9]|40)_", tag))
        platform = f"{target.machine}-{newest.removesuffix(f'_{target.machine}')}"
        return [
            *(uv, "pip", "install", "-q", "--no-config", "--only-binary", ":all:", "--link-mode", "copy"),
            *("--python-version", target.python, "--python-platform", platform),
        ]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary=:all:"]
    pip += ["--no-compile", "--implementation", "cp", "--python-version", target.python]
    return pip + [argument for tag in target.platforms for argument in ("--platform", tag)]


def failure(stderr: str, target: Target) -> str:
    """Return what to do about an installer that failed, and what it said."""
    text = " ".join(stderr.split())
    if "No module named pip" in text:
        return "installing wheels needs uv or pip, and neither is here: pip install uv"
    if unknown := _UNKNOWN.search(text):
        return f"{unknown['name']} is in no package index that can be reached\n{stderr.strip()}"
    if missing := _NO_WHEEL.search(text):
        return (
            f"{missing['pip'] or missing['uv']} has no wheel for Python {target.python} on {target.arch}, and nothing "
            f"is built here: choose a version that has one, build one in Lambda's image and put its path into the "
            f"requirements, or do without it\n{stderr.strip()}"
        )
    return f"the dependencies cannot be installed:\n{stderr.strip()}"


def _own_wheel(folder: Path) -> None:
    """Write the wheel of this library as it runs here, whether it was installed from one or is a checkout."""
    distribution = importlib.metadata.distribution(OWN)
    version = distribution.version
    info = f"lambda_extension-{version}.dist-info"
    package = Path(lambda_extension.__file__).parent
    members = {
        f"lambda_extension/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    metadata = distribution.read_text("METADATA") or ""
    members[f"{info}/METADATA"] = metadata.encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/entry_points.txt"] = (distribution.read_text("entry_points.txt") or "").encode()
    record = "".join(f"{name},,\n" for name in [*members, f"{info}/RECORD"])
    members[f"{info}/RECORD"] = record.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    (folder / f"lambda_extension-{version}-py3-none-any.whl").write_bytes(buffer.getvalue())
